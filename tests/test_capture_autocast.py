"""Does torch.autocast decide in a capture what it decides on CUDA?"""

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from torch import nn
from torch.nn import functional as F

from tests.targets import A5000
from traces.capture.aten import capture_torch
from traces.capture.aten.autocast import _table

HEADER = Path(torch.__file__).parent / "include/ATen/autocast_mode.h"


def kernels(function, *args):
    """Name and type of each kernel."""
    trace = capture_torch(function, args, target=A5000)
    return list(zip(trace.kernels["name"].tolist(), trace.kernels["dtype"].tolist(), strict=True))


def test_the_lists_are_those_of_pytorchs_header():
    text = HEADER.read_text()
    for macro, ours in (
        ("LOWER_PRECISION_FP", "lower"),
        ("FP32", "single"),
        ("FP32_SET_OPT_DTYPE", "single_result"),
        ("PROMOTE", "widest"),
    ):
        body = re.search(rf"#define AT_FORALL_{macro}\(_\)(.*?)\n\n", text, re.DOTALL)[1]
        theirs = [name + (f".{overload}" if overload else "") for name, overload in re.findall(r"_\((\w+)(?:, (\w+))?\)", body)]
        assert sorted(_table()[ours]) == sorted(theirs)


def test_products_take_16_bits_and_losses_32():
    def loss(x, w, y):
        with torch.autocast("cuda", torch.bfloat16):
            return F.mse_loss(torch.relu(x @ w), y)

    assert kernels(loss, torch.empty(32, 64), torch.empty(64, 8), torch.empty(32, 8)) == [
        ("aten::_to_copy", "f32"),
        ("aten::_to_copy", "f32"),
        ("aten::mm", "bf16"),
        ("aten::relu", "bf16"),
        ("aten::_to_copy", "bf16"),
        ("aten::mse_loss", "f32"),
    ]


def test_a_parameter_is_converted_once_a_region_and_its_gradient_is_of_its_own_type():
    def step(model, x):
        with torch.autocast("cuda", torch.float16):
            y = model(model(x))
        y.float().sum().backward()
        return model.weight.grad

    model = nn.Linear(64, 64, bias=False)
    found = kernels(step, model, torch.empty(32, 64))
    forward = found[: found.index(("aten::sum", "f32"))]
    assert forward.count(("aten::_to_copy", "f32")) == 2  # the data, and the weight once
    assert [dtype for name, dtype in found if name == "aten::mm"] == ["f16"] * 5
    trace = capture_torch(step, (model, torch.empty(32, 64)), target=A5000)
    assert "f32" in trace.tensors["dtype"][trace.tensors["name"] == "output"]


def test_attention_in_a_region_is_flash_attention_and_norms_are_in_32_bits():
    def attend(x, scale):
        with torch.autocast(x.device.type, torch.bfloat16):
            attended = F.scaled_dot_product_attention(x, x, x, is_causal=True)
            return F.rms_norm(attended, (64,), scale)

    found = kernels(attend, torch.empty(2, 4, 128, 64), torch.empty(64))
    assert [name for name, _ in found] == ["aten::_to_copy"] * 3 + ["aten::_scaled_dot_product_flash_attention", "aten::_to_copy"] + [
        "aten::_fused_rms_norm"
    ]
    assert found[-1][1] == "f32"


def test_a_region_may_be_left_and_entered_again():
    def mixed(x, w):
        with torch.autocast("cuda", torch.float16):
            with torch.autocast("cuda", enabled=False):
                full = x @ w
            return full, x @ w, torch.exp(x), x @ x.double().float()

    products = [dtype for name, dtype in kernels(mixed, torch.empty(8, 8), torch.empty(8, 8)) if name == "aten::mm"]
    assert products == ["f32", "f16", "f16"]


@pytest.mark.filterwarnings("error")
def test_a_scaled_step_unscales_its_gradients_and_takes_the_step():
    def step(model, optimizer, x):
        scaler = torch.amp.GradScaler("cuda")
        with torch.autocast("cuda", torch.float16):
            loss = model(x).sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    model = nn.Linear(64, 64)
    names = [name for name, _ in kernels(step, model, torch.optim.SGD(model.parameters(), lr=0.1), torch.empty(32, 64))]
    assert names.index("aten::_amp_foreach_non_finite_check_and_unscale_") < names.index("aten::_foreach_add_.List")
    assert names[-1] == "aten::_amp_update_scale_"


def test_pytorchs_own_kernels_are_back_afterwards():
    kernels(lambda x: x * 2, torch.empty(8))
    with torch.autocast("cpu", torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert torch._C._dispatch_has_kernel_for_dispatch_key("aten::mm", "AutocastCUDA")
