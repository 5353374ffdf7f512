"""The picture of a soak: memory, descriptors, the write-ahead log and latencies over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memstore.evaluation.plot import COLOURS, GREY, new_figure

POINTS = 300  # of each line, about
SHOWN = ("query", "add", "update", "forget")


def draw(samples: Sequence[dict[str, Any]], reader: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the plot, as SVG or PNG by its suffix."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    reader = reader[:: max(1, len(reader) // POINTS)]
    samples = samples[:: max(1, len(samples) // POINTS)]
    minutes = [sample["at"] / 60 for sample in samples]
    full = next((s["at"] / 60 for s in samples if s["phase"] == "steady"), None)
    with new_figure(path, width=7.5, height=8.5) as figure:
        memory, log, handles, latency = figure.subplots(4, 1, sharex=True)
        memory.plot(minutes, [s["anonymous_mib"] for s in samples], color=COLOURS[0])
        memory.plot(
            [s["at"] / 60 for s in reader], [s["anonymous_mib"] for s in reader], color=COLOURS[1]
        )
        memory.legend(["writing process", "reading process"], frameon=False, fontsize=8)
        memory.set_ylabel("memory, MiB")
        memories = memory.twinx()
        memories.plot(minutes, [s["memories"] for s in samples], color=GREY, linestyle=":")
        memories.set_ylabel("memories (dotted)", color=GREY)
        memories.set_ylim(bottom=0)
        log.plot(minutes, [s["log_mib"] for s in samples], color=COLOURS[2])
        log.set_ylabel("write-ahead\nlog, MiB")
        handles.plot(minutes, [s["descriptors"] for s in samples], color=COLOURS[3])
        handles.plot(minutes, [s["threads"] for s in samples], color=COLOURS[4])
        handles.legend(["file descriptors", "threads"], frameon=False, fontsize=8)
        handles.set_ylabel("open")
        for name, colour in zip(SHOWN, COLOURS, strict=False):
            for point, style in (("p50", "-"), ("p99", ":")):
                known = [
                    (at, s["ms"][name][point])
                    for at, s in zip(minutes, samples, strict=True)
                    if name in s["ms"]
                ]
                latency.plot(
                    *zip(*known, strict=True),
                    color=colour,
                    linestyle=style,
                    label=name if point == "p50" else None,
                )
        latency.set_yscale("log")
        latency.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        latency.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        latency.yaxis.set_minor_locator(NullLocator())
        latency.legend(frameon=False, fontsize=8, ncols=len(SHOWN))
        latency.set_ylabel("p50, p99\n(dotted), ms")
        latency.set_xlabel("minutes")
        for axes in (memory, log, handles):
            axes.set_ylim(bottom=0)
        for axes in (memory, log, handles, latency):
            axes.grid(color="#e9ecef")
            axes.set_axisbelow(True)
            if full is not None:
                axes.axvline(full, color=GREY, linewidth=0.8, linestyle=(0, (5, 4)))
        memory.set_title(
            "One process works, one reads; dashed: from here on the store's size is held",
            loc="left",
            fontsize=11,
        )
