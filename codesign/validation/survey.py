"""Rows for what the survey of neural-network Monte Carlo published (its figures 4 and 5, its text)."""

from collections.abc import Iterator, Mapping
from typing import Any

from codesign.validation.profiler import profile
from codesign.validation.published import published
from codesign.validation.row import Row, Tolerance, Value, shown, tolerance_of
from codesign.validation.steps import BAND, Step, survey_name, survey_step


def rows() -> Iterator[Row]:
    """Yield a row for every published number about time: shares, totals, growth, devices, order."""
    survey = published()["survey"]
    for make in (_shares, _kernel_times, _growth, _speedups, _order, _training, _alternatives):
        yield from make(survey)


def row_of(survey: dict[str, Any], row_id: str, quantity: str, ansatz: str, ours: Value, **rest: Any) -> Row:
    """Return a row in the configuration of an ansatz ('' for all of them)."""
    configuration = survey["configuration"][ansatz] if ansatz else "the configuration of each ansatz"
    return Row(f"survey/{row_id}", quantity, ours=ours, configuration=configuration, **rest)


def _shares(survey: dict[str, Any]) -> Iterator[Row]:
    table = survey["shares"]
    for ansatz in survey["ansatze"]:
        found = survey_step(ansatz, survey["molecule"])
        yield _share(survey, ansatz, found, table[ansatz]["sampling"], place="sampling")
        for place in ("within", "outside"):
            for family, value in table[ansatz].get(place, {}).items():
                yield _share(survey, ansatz, found, value, place=place, family=family)


def _families(name: str) -> tuple[str, ...]:
    """Return the families of a trace that one of the survey's stands for.

    Its profile has TRSM in sampling, which factorises and solves nothing, so it is the kernels of factorisations as well.
    """
    return {"elementwise": BAND, "triangular_solve": ("triangular_solve", "lu")}.get(name) or tuple(name.split("+"))


def _share(survey: dict[str, Any], ansatz: str, found: Step | None, value: float, *, place: str, family: str = "") -> Row:
    """Return a row for a share: of ``sampling``, of a family ``within`` it (a fraction of sampling), or of one ``outside``."""
    families = _families(family) if family else ()
    ours = None if found is None else found.share(families, sampling=place != "outside")
    if place == "within" and found is not None and ours is not None:
        ours /= found.share(sampling=True)
    rule = survey["shares"]["sampling_tolerance" if place == "sampling" else "family_tolerance"]
    names = {"sampling": "sampling", "within": f"{_band(family)} within sampling", "outside": f"{_band(family)} outside sampling"}
    return row_of(
        survey,
        "/".join(filter(None, ("share", ansatz, place, family))),
        f"{survey['labels'][ansatz]}, {names[place]}: share of {'sampling' if place == 'within' else 'kernel'} time",
        ansatz,
        ours,
        published=value,
        tolerance=tolerance_of(rule, {"value": value}),
        source=survey["shares"]["where"],
    )


def _band(family: str) -> str:
    return "elementwise + slice/concat" if family == "elementwise" else family.replace("_", " ").replace("+", " and ")


def _kernel_times(survey: dict[str, Any]) -> Iterator[Row]:
    table = survey["kernel_time"]
    for ansatz in survey["ansatze"]:
        for molecule in survey["molecules"]:
            found = survey_step(ansatz, molecule)
            yield row_of(
                survey,
                f"kernel-time/{ansatz}/{molecule}",
                f"{survey['labels'][ansatz]}, {molecule}: kernel time on A5000, s",
                ansatz,
                None if found is None else found.kernel_time_s,
                published=shown(table[molecule]),
                tolerance=Tolerance(table[molecule]["low"], table[molecule]["high"]),
                source=table["where"],
            )


def _ratio(over: Step | None, under: Step | None) -> float | None:
    return None if over is None or under is None else over.kernel_time_s / under.kernel_time_s


def _growth(survey: dict[str, Any]) -> Iterator[Row]:
    first, last = survey["molecules"][0], survey["molecules"][-1]
    for ansatz in survey["ansatze"]:
        number = survey["growth"][ansatz]
        yield row_of(
            survey,
            f"growth/{ansatz}",
            f"{survey['labels'][ansatz]}: kernel time of {last} over {first}, A5000",
            ansatz,
            _ratio(survey_step(ansatz, last), survey_step(ansatz, first)),
            published=shown(number),
            tolerance=tolerance_of(number["tolerance"], number),
            source=survey["growth"]["where"],
        )


def _speedups(survey: dict[str, Any]) -> Iterator[Row]:
    table = survey["speedup"]
    for ends in table["gpus"]:
        gpu, known = ends["machine"], _gains(survey, ends)
        for end, pick in (("smallest", min), ("largest", max)):
            yield row_of(
                survey,
                f"speedup/{gpu}/{end}",
                f"{gpu} over A5000: {end} of 16 cells",
                "",
                pick(known.values()) if known else None,
                published=ends[end],
                tolerance=tolerance_of(table["tolerance"], {"value": ends[end]}),
                source=table["where"],
            )
        yield row_of(
            survey,
            f"speedup/{gpu}/where",
            f"{gpu} over A5000: molecule of the largest gain",
            "",
            max(known, key=lambda cell: known[cell])[1] if known else None,
            published=table["largest_molecule"],
            tolerance=table["largest_molecule"],
            source=table["where"],
        )
        yield row_of(
            survey,
            f"speedup/{gpu}/none-slower",
            f"{gpu} over A5000: no cell below 1",
            "",
            min(known.values()) if known else None,
            published=None,
            tolerance=tolerance_of(table["least_tolerance"], {}),
            source=table["where"],
        )


def _gains(survey: dict[str, Any], gpu: Mapping[str, Any], variants: Mapping[str, str] | None = None) -> dict[tuple[str, str], float]:
    """Return A5000's kernel time over the GPU's by (ansatz, molecule); empty unless every cell is known."""
    recorded = variants or {}
    cells = {
        (a, m): _ratio(survey_step(a, m, variant=recorded.get(a)), survey_step(a, m, gpu["recorded"], recorded.get(a), gpu["machine"]))
        for a in survey["ansatze"]
        for m in survey["molecules"]
    }
    known = {cell: value for cell, value in cells.items() if value is not None}
    return known if len(known) == len(cells) else {}


def _order(survey: dict[str, Any]) -> Iterator[Row]:
    for which, pick in (("fastest", min), ("slowest", max)):
        for molecule, ansatz in survey["order"][which].items():
            times = {a: found.kernel_time_s for a in survey["ansatze"] if (found := survey_step(a, molecule)) is not None}
            ours = pick(times, key=times.__getitem__) if len(times) == len(survey["ansatze"]) else None
            yield row_of(
                survey,
                f"order/{molecule}/{which}",
                f"{molecule}: {which} of the four on A5000",
                "",
                ours,
                published=ansatz,
                tolerance=ansatz,
                source=survey["order"]["where"],
            )


def _alternatives(survey: dict[str, Any]) -> Iterator[Row]:
    """The shares and the kernel time in other configurations, without a bar."""
    for other in survey["alternatives"]:
        ansatz = other["ansatz"]
        for molecule in survey["molecules"]:
            found = survey_step(ansatz, molecule, variant=other["recorded"])
            name = f"{survey['labels'][ansatz]}, {molecule}, alternative"
            time_s, share = (None, None) if found is None else (found.kernel_time_s, found.share(sampling=True))
            band, sampling = survey["kernel_time"][molecule], survey["shares"][ansatz]["sampling"]
            head = f"survey/alternative/{ansatz}{other['recorded']}/{molecule}"
            yield Row(
                f"{head}/time",
                f"{name}: kernel time on A5000, s",
                published=shown(band),
                ours=time_s,
                tolerance=None,
                configuration=other["configuration"],
                source="",
            )
            if molecule == survey["molecule"]:
                yield Row(
                    f"{head}/sampling",
                    f"{name}: share of sampling",
                    published=sampling,
                    ours=share,
                    tolerance=None,
                    configuration=other["configuration"],
                    source="",
                )
    yield from _alternative_speedups(survey)
    yield from _transposes(survey)
    yield from _profiled(survey)


def _transposes(survey: dict[str, Any]) -> Iterator[Row]:
    """Transposes that do arithmetic too may count as elementwise by their name: both families together, without a bar."""
    for ansatz in survey["ansatze"]:
        within = survey["shares"][ansatz].get("within", {})
        found = survey_step(ansatz, survey["molecule"])
        if "transpose" in within:
            ours = None if found is None else found.share((*BAND, "transpose"), sampling=True) / found.share(sampling=True)
            quantity = f"{survey['labels'][ansatz]}, elementwise, slice/concat and transpose within sampling: share of sampling time"
            row_id, published = f"alternative/share/{ansatz}/within/elementwise+transpose", within["elementwise"] + within["transpose"]
            yield row_of(survey, row_id, quantity, ansatz, ours, published=published, tolerance=None, source=survey["shares"]["where"])


def _profiled(survey: dict[str, Any]) -> Iterator[Row]:
    """Kernel times if they came from Nsight Compute, which the survey names beside Nsight Systems, without a bar."""
    configuration = survey["profiled"]["configuration"]
    first, last = survey["molecules"][0], survey["molecules"][-1]
    for ansatz in survey["ansatze"]:
        label, times = survey["labels"][ansatz], {m: profile(survey_name(ansatz, m)) for m in survey["molecules"]}
        for molecule, found in times.items():
            quantity = f"{label}, {molecule}, under Nsight Compute: kernel time on A5000, s"
            band, ours = shown(survey["kernel_time"][molecule]), None if found is None else found.kernel_time_s
            yield Row(
                f"survey/alternative/profiled/{ansatz}/{molecule}",
                quantity,
                published=band,
                ours=ours,
                tolerance=None,
                configuration=configuration,
                source="",
            )
        quantity = f"{label}, under Nsight Compute: kernel time of {last} over {first}, A5000"
        ours = _ratio(times[last], times[first])
        yield Row(
            f"survey/alternative/profiled/{ansatz}/growth",
            quantity,
            published=shown(survey["growth"][ansatz]),
            ours=ours,
            tolerance=None,
            configuration=configuration,
            source="",
        )


def _alternative_speedups(survey: dict[str, Any]) -> Iterator[Row]:
    """The gains of other GPUs with Gaussian proposals, and of another board with the survey's configuration, without a bar."""
    other = {alternative["ansatz"]: alternative["recorded"] for alternative in survey["alternatives"]}
    for gpu in survey["speedup"]["gpus"]:
        yield from _alternative_gains(survey, gpu, _gains(survey, gpu, other), "deepqmc's rows with Gaussian proposals", "alternative")
    for gpu in survey["speedup"]["other_boards"]:
        yield from _alternative_gains(survey, gpu, _gains(survey, gpu), "another board of the chip", "another board")


def _alternative_gains(
    survey: dict[str, Any], gpu: dict[str, Any], known: dict[tuple[str, str], float], configuration: str, what: str
) -> Iterator[Row]:
    for end, pick in (("smallest", min), ("largest", max)):
        cell = pick(known, key=known.__getitem__) if known else None
        yield Row(
            f"survey/{what.replace(' ', '-')}/speedup/{gpu['machine']}/{end}",
            f"{gpu['machine']} over A5000, {what}: {end} of 16 cells",
            published=gpu[end],
            ours=None if cell is None else known[cell],
            tolerance=None,
            configuration=configuration,
            source="",
            note="" if cell is None else f"{survey['labels'][cell[0]]}, {cell[1]}",
        )


def _training(survey: dict[str, Any]) -> Iterator[Row]:
    table = survey["training"]
    for ansatz in survey["ansatze"]:
        for molecule in survey["molecules"][1:]:
            training, inference, note = _same_sampler(survey, ansatz, molecule)
            yield row_of(
                survey,
                f"training/{ansatz}/{molecule}",
                f"{survey['labels'][ansatz]}, {molecule}: kernel time of training over inference, A5000",
                ansatz,
                _ratio(training, inference),
                published=table["ratio"]["value"],
                tolerance=tolerance_of(table["ratio"]["tolerance"], table["ratio"]),
                source=table["where"],
                note=note,
            )


def _same_sampler(survey: dict[str, Any], ansatz: str, molecule: str) -> tuple[Step | None, Step | None, str]:
    """Return a training and an inference step with one sampler, the configuration's if its training is recorded; and a note if not."""
    ending = survey["recorded"].get(ansatz, "")
    for sampler, note in ((ending, ""), ("", "both with Gaussian proposals" if ending else "")):
        training = survey_step(ansatz, molecule, variant=f"{sampler}-training")
        if training is not None:
            return training, survey_step(ansatz, molecule, variant=sampler), note
    return None, None, ""
