"""Are programs of kinds that users have captured with the work that they do by hand, or refused by name?"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from torch import nn
from torch.nn import functional as F

from tests.targets import A5000
from traces.capture.aten import capture_torch
from traces.capture.doubts import CaptureWarning
from traces.errors import CaptureError


def captured(function, *args):
    return capture_torch(function, args, target=A5000)


def of_family(trace, family):
    """Rows of a family: name, launches, matrix FLOP (to a millionth), (batch, m, n)."""
    k = trace.kernels
    rows = np.flatnonzero(k["family"] == family)
    sizes = [tuple(int(k[c][i]) for c in ("batch", "m", "n")) for i in rows]
    return [(k["name"][i], int(k["launches"][i]), round(float(k["flops_matrix"][i]), 6), s) for i, s in zip(rows, sizes, strict=True)]


def test_inference_mode_launches_what_it_launches_without_gradients():
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.1)
    x = torch.empty(2, 16, 64)

    def inferring(layer, x):
        with torch.inference_mode():
            return layer(x)

    def without(layer, x):
        with torch.no_grad():
            return layer(x)

    columns = ("name", "family", "flops_matrix", "flops_vector", "bytes_unique")
    one, other = captured(inferring, layer, x).kernels, captured(without, layer, x).kernels
    assert [one[c].tolist() for c in columns] == [other[c].tolist() for c in columns]


def test_a_determinant_is_an_lu_factorisation_and_a_product_of_its_diagonal():
    trace = captured(torch.linalg.slogdet, torch.empty(16, 24, 24))
    assert of_family(trace, "lu") == [("aten::linalg_lu_factor_ex", 2, 16 * 2 * 24**3 / 3, (16, 24, 24))]
    rest = trace.kernels["bytes_unique"][1:]
    assert len(rest) == 12  # six for the sign of the permutation, six for the diagonal (LinearAlgebra.cpp)
    assert (rest <= 16 * 24 * 8 + 24 * 4 + 16 * 8).all()


def test_a_solve_is_a_factorisation_and_two_triangles():
    trace = captured(torch.linalg.solve, torch.empty(32, 32), torch.empty(32, 4))
    triangle = ("aten::linalg_solve_triangular", 1, 32 * 32 * 4, (1, 32, 4))
    assert of_family(trace, "lu") == [("aten::linalg_lu_factor_ex", 3, round(2 / 3 * 32**3, 6), (1, 32, 32))]
    assert of_family(trace, "triangular_solve") == [triangle, triangle]
    read = trace.accesses["bytes_unique"][(trace.accesses["kernel"] == 2) & (trace.accesses["mode"] == "read")]
    assert sorted(read.tolist()) == [32 * 4 * 4, 4 * 32 * 33 / 2]  # of the factor a triangle


def test_the_gradient_of_a_determinant_solves():
    def gradient(x):
        torch.linalg.slogdet(x)[1].sum().backward()
        return x.grad

    families = captured(gradient, torch.empty(4, 16, 16, requires_grad=True)).kernels["family"].tolist()
    assert families.count("lu") == 1
    assert families.count("triangular_solve") == 2


@pytest.mark.parametrize(
    ("function", "flops"),
    [
        (torch.linalg.cholesky, 8 * 16**3 / 3),
        (torch.linalg.qr, 8 * (2 * 16**3 - 2 / 3 * 16**3 + 4 / 3 * 16**3)),
        (torch.linalg.inv, 8 * (2 / 3 * 16**3 + 2 * 16**3)),
        (torch.linalg.det, 8 * 2 / 3 * 16**3),
        (lambda x: torch.cholesky_solve(x, x), 8 * 2 * 16**3),
    ],
)
def test_dense_linear_algebra_has_lapacks_work(function, flops):
    assert np.sum(captured(function, torch.empty(8, 16, 16)).kernels["flops_matrix"]) == pytest.approx(flops, rel=1e-12)


def scaled(x, w):
    one = torch.ones((), device=x.device)
    return torch._scaled_mm(x, w.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("function", "dtype", "name", "vector"),
    [(lambda x, w: torch._int_mm(x, w.t()), torch.int8, "s8", 0), (scaled, torch.float8_e4m3fn, "f8e4m3fn", 32 * 48)],
)
def test_products_of_8_bits_are_products(function, dtype, name, vector):
    trace = captured(function, torch.empty(32, 64, dtype=dtype), torch.empty(48, 64, dtype=dtype))
    kernels, row = trace.kernels, len(trace.kernels) - 1
    assert (kernels["family"][row], kernels["dtype"][row]) == ("gemm", name)
    assert [int(kernels[c][row]) for c in "mnk"] == [32, 48, 64]
    assert (kernels["flops_matrix"][row], kernels["flops_vector"][row]) == (2 * 32 * 48 * 64, vector)


def test_experts_of_unknown_sizes_are_one_grouped_product():
    x, w, ends = torch.empty(128, 64, dtype=torch.bfloat16), torch.empty(4, 64, 32, dtype=torch.bfloat16), torch.zeros(4, dtype=torch.int32)
    kernels = captured(lambda x, w, ends: torch._grouped_mm(x, w, offs=ends), x, w, ends).kernels
    assert kernels["flops_matrix"].tolist() == [2 * 128 * 64 * 32]
    assert [int(kernels[c][0]) for c in ("batch", "m", "n", "k")] == [4, 32, 32, 64]


@pytest.mark.parametrize(
    ("function", "vector"),
    [
        (lambda x: x.cumsum(1), 100 * 999),
        (lambda x: x.cumsum(0), 99 * 1000),
        (lambda x: torch.searchsorted(x[0], x), 100_000 * 10),
        (lambda x: torch.cdist(x[:10], x[:20]), 3 * 10 * 20 * 1000),
        (lambda x: x.index_put((torch.zeros(10, dtype=torch.int64, device=x.device),), x[:10], accumulate=True), 10 * 1000),
        (F.hardswish, 4 * 100_000),
        (lambda x: F.smooth_l1_loss(x, x), 7 * 99_999),
    ],
)
def test_work_by_hand(function, vector):
    assert np.sum(captured(function, torch.empty(100, 1000)).kernels["flops_vector"]) == vector


def test_a_distributions_checks_of_values_are_left_out():
    def draw(logits):
        drawn = torch.distributions.Categorical(logits=logits)
        return drawn.log_prob(drawn.sample())

    assert "aten::multinomial" in captured(draw, torch.empty(8, 100)).kernels["name"]


def flexible(x):
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(x, x, x)


def sparse_gradient(x):
    F.embedding(torch.zeros(3, dtype=torch.int64, device=x.device), x, sparse=True).sum().backward()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)), "HigherOrderOperator cond"),
        (flexible, "FlexAttention"),
        (sparse_gradient, "sparse"),
        (lambda x: nn.utils.rnn.pack_padded_sequence(x[..., None], x[0].long()), "_pack_padded_sequence"),
        (lambda x: x.to_sparse(), "_to_sparse"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_has_no_kernels_of_known_sizes_is_refused_by_name(function, message):
    with pytest.raises(CaptureError, match=message):
        captured(function, torch.empty(4, 4, 8, 16, requires_grad=True) if function is flexible else torch.empty(8, 16, requires_grad=True))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "is nested"),
        (lambda: torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8), "is quantized"),
        (lambda: torch.eye(4).to_sparse(), "layout torch.sparse_coo"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_without_strides_are_refused(tensor, message):
    with pytest.raises(CaptureError, match=message):
        captured(lambda x: x * 2, tensor())


class Block(nn.Module):
    """A layer of a Llama: grouped queries, rotations, a gated network; as a user writes it."""

    def __init__(self, width=64, heads=4, groups=2, inner=96):
        super().__init__()
        self.heads, self.groups = heads, groups
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(2))
        self.q, self.o = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(width, width * groups // heads, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x, cos, sin):
        h = self.norms[0](x)
        batch, length, width = x.shape
        q, k, v = (w(h).view(batch, length, -1, width // self.heads).transpose(1, 2) for w in (self.q, self.k, self.v))
        q, k = (t * cos + torch.cat((-t[..., 8:], t[..., :8]), -1) * sin for t in (q, k))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(attended.transpose(1, 2).reshape(batch, length, width))
        h = self.norms[1](x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def train(model, optimizer, x, cos, sin):
    optimizer.zero_grad()
    loss = model(x, cos, sin).float().square().mean()
    loss.backward()
    optimizer.step()
    return loss


OPTIMISERS = {
    "adamw": (lambda p: torch.optim.AdamW(p), None),
    "adamw fused": (lambda p: torch.optim.AdamW(p, fused=True), 7),  # reads p, g, m, v, writes p, m, v
    "adamw capturable": (lambda p: torch.optim.AdamW(p, capturable=True), None),
    "sgd fused": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True), 5),
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 8),  # g, m twice, m written twice; p read and written, m
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_training_step_of_a_language_model_has_three_times_the_products_of_inference(name):
    make, touched = OPTIMISERS[name]
    model = Block().to(torch.bfloat16)
    rotation = torch.empty(2, 32, 16, dtype=torch.bfloat16)
    kernels = captured(train, model, make(model.parameters()), torch.empty(8, 32, 64, dtype=torch.bfloat16), *rotation).kernels
    rows, weights = 8 * 32, 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96
    pairs = 8 * 4 * 32 * 33 // 2
    products = kernels["family"] == "gemm"
    assert np.sum(kernels["flops_matrix"][products]) == 2 * rows * weights * 3
    assert np.sum(kernels["flops_matrix"][kernels["family"] == "attention"]) == 2 * 16 * pairs * (2 + 5)
    assert not np.isnan(kernels["flops_vector"]).any()
    if touched:
        assert np.sum(kernels["bytes_unique"][kernels["phase"] == "optimizer"]) == pytest.approx(2 * (weights + 128) * touched, rel=1e-3)


def test_an_optimiser_that_looks_at_values_is_refused_by_name():
    model = nn.Linear(8, 8)
    with pytest.raises(CaptureError, match="Adafactor"):
        captured(lambda m, o, x: (m(x).sum().backward(), o.step()), model, torch.optim.Adafactor(model.parameters()), torch.empty(4, 8))


def test_a_product_of_complex_numbers_costs_four_real_ones():
    import codesign as cd

    real, complex_ = (captured(torch.mm, *(torch.empty(2048, 2048, dtype=dtype),) * 2) for dtype in (torch.float32, torch.complex64))
    assert of_family(complex_, "gemm")[0][2] == 4 * of_family(real, "gemm")[0][2] == 8 * 2048**3
    times = [cd.replay(trace, cd.machine("a5000")).kernel_time_s for trace in (real, complex_)]
    assert 3.8 < times[1] / times[0] < 4.2


def padded(x):
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).to(x.device).eval()
    with torch.no_grad():
        return encoder(x[None], src_key_padding_mask=torch.zeros(1, 8, dtype=torch.bool, device=x.device))


def communicating(x):
    torch.distributed.all_reduce(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (padded, "enable_nested_tensor=False"),
        (communicating, "of one device, but the program communicates"),
        (lambda x: torch.linalg.lstsq(x, x), "linalg_lstsq.*has no shapes without data.*solve_triangular"),
        (torch.unique, "_unique2.*has no shapes without data"),
    ],
)
def test_a_refusal_says_what_to_write_instead(function, message):
    with pytest.raises(CaptureError, match=message):
        captured(function, torch.empty(8, 16))


def decoded(mask):
    def run(model, source, target):
        size, device = target.shape[1], target.device
        if mask == "own":
            return model(source, target, tgt_mask=nn.Transformer.generate_square_subsequent_mask(size, device=device))
        given = torch.triu(torch.ones(size, size, dtype=torch.bool, device=device), 1)
        return model(source, target, tgt_mask=given, tgt_is_causal={"unknown": None, "not causal": False}[mask])

    return run


@pytest.mark.parametrize("mask", ["own", "unknown", "not causal"])
def test_the_modules_transformer_knows_its_causal_mask(mask):
    """Both stacks of 2 layers, 4 sequences of 8 tokens: of the decoder's own scores a causal mask leaves 36 of 64 pairs."""
    model = nn.Transformer(16, 2, 2, 2, 32, batch_first=True, dropout=0.0)
    sequences = torch.empty(4, 8, 16)
    if mask == "unknown":
        with pytest.warns(CaptureWarning, match=r"whether its mask of \(8, 8\) is causal.*taken for causal; pass is_causal"):
            trace = captured(decoded(mask), model, sequences, sequences)
    else:
        trace = captured(decoded(mask), model, sequences, sequences)
    projections = 2 * 4 * 8 * 2 * ((4 * 16 * 16 + 2 * 16 * 32) + (8 * 16 * 16 + 2 * 16 * 32))
    own = 64 if mask == "not causal" else 36
    scores = 2 * 2 * 4 * 16 * 2 * (64 + own + 64)
    assert np.nansum(trace.kernels["flops_matrix"]) == projections + scores


def test_distances_are_a_product_with_two_columns_more():
    trace = captured(torch.cdist, torch.empty(3, 64, 10), torch.empty(3, 128, 10))
    assert np.nansum(trace.kernels["flops_matrix"]) == 3 * 2 * 64 * 128 * 12
    assert not np.isnan(trace.kernels["flops_vector"]).any()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_second_derivatives_have_no_operator_without_work():
    trace = captured(torch.func.hessian(lambda x: torch.tanh(x).pow(3).sum()), torch.empty(8))
    assert not np.isnan(trace.kernels["flops_vector"]).any()


@pytest.mark.parametrize(
    ("function", "matrix", "vector"),
    [
        (lambda a: torch.linalg.cross(a[:, :3], a[:, 3:6]), 0, 3 * 32 * 3),
        (lambda a: a.int() << 2, 0, 32 * 32 + 32 * 32),  # conversion and shift
        (lambda a: torch.histc(a, 10), 0, 4 * 32 * 32),
        (torch.nn.functional.pdist, 0, 3 * (32 * 31 / 2) * 32),  # of each pair of rows a difference, its square, a sum
        (lambda a: torch.addr(a, a[0], a[1]), 0, 3 * 32 * 32),
        (lambda a: torch.nextafter(a, a), 0, 3 * 32 * 32),
        (torch.linalg.lu, 2 / 3 * 32**3, 0),
        (torch.cholesky_inverse, 2 * 32**3, 0),  # two triangles, 32 right-hand sides each
        (lambda a: torch.linalg.householder_product(a, a[0, :8]), 4 * 32 * 32 * 8 - 2 * 64 * 8**2 + 4 / 3 * 8**3, 0),
    ],
)
def test_rarer_operators_have_their_work(function, matrix, vector):
    kernels = captured(function, torch.empty(32, 32)).kernels
    assert (kernels["flops_matrix"].sum(), kernels["flops_vector"].sum()) == (pytest.approx(matrix), vector)
