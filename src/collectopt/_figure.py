"""The look of every picture: figures that are returned and never shown, colours, quiet axes."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, MUTED, FAINT = "#1c2733", "#6b7785", "#dfe4ea"
MODEL, TRUTH, RIVAL = "#1f5fa8", "#d9822b", "#9aa5b1"
RIVAL_SHADES = ("#9aa5b1", "#5f6b78", "#c3cad2")


class Plot(Figure):
    """A matplotlib figure that notebooks show and that turns into PNG bytes."""

    def png(self, dpi: int = 150) -> bytes:
        """Render with the Agg backend; the same figure gives the same bytes."""
        if self.get_layout_engine() is not None:
            self.draw_without_rendering()
            self.set_layout_engine("none")  # each further draw would move things a little
        before = self.dpi
        self.set_dpi(dpi)
        sink = io.BytesIO()
        FigureCanvasAgg(self).print_png(sink, metadata={"Software": None})
        self.set_dpi(before)
        return sink.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png(110)


def panels(
    count: int, *, width: float = 3.1, height: float = 3.1, columns: int = 4
) -> tuple[Plot, list[Axes]]:
    """Make a figure with `count` small panels in rows of at most `columns`."""
    wide = max(1, min(count, columns))
    deep = max(1, -(-count // wide))
    figure = Plot(figsize=(width * wide, height * deep), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(deep, wide, squeeze=False).ravel().tolist()
    for spare in grid[count:]:
        spare.set_axis_off()
    for ax in grid[:count]:
        clean(ax)
    return figure, grid[:count]


def clean(ax: Axes) -> None:
    """Give an axis the house look: no frame, faint grid, quiet labels."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.grid(visible=True, color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(colors=MUTED, labelsize=8, length=0)
    ax.xaxis.label.set(color=INK, fontsize=8.5)
    ax.yaxis.label.set(color=INK, fontsize=8.5)


def title(ax: Axes, text: str) -> None:
    """Write a panel's title."""
    ax.set_title(text, loc="left", color=INK, fontsize=9, fontweight="bold")
