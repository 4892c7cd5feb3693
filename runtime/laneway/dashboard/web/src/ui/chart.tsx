/** Lines over time (uPlot), in the colours of the page, with a legend of our own that readers can read. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { dark } from "../state/theme";

export interface Line {
  name: string;
  /** A colour of the style sheet, such as `--c-queued`. */
  colour: string;
  values: (number | null)[];
  /** Filled down to the axis. */
  fill?: boolean;
  dashed?: boolean;
}

/** `empty`: what to say when there is no number at all. `of`: what is counted, for marks at whole numbers or times. */
export function Chart({ title, at, lines, format, empty, of, height = 168 }: {
  title: string; at: number[]; lines: Line[]; format: (value: number) => string; empty: string; of?: keyof typeof MARKS; height?: number;
}) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [cursor, setCursor] = useState<number | null>(null);
  // A new plot for other lines or colours; new numbers go into the one that is there.
  const shape = lines.map((line) => [line.name, line.colour, line.fill, line.dashed].join()).join(";") + dark.value;
  const data = useMemo<uPlot.AlignedData>(() => [at, ...lines.map((line) => line.values)], [at, lines]);
  const newest = useRef(data);
  newest.current = data;

  useEffect(() => {
    const element = holder.current;
    if (!element) return;
    const style = getComputedStyle(element);
    // (Of a variable itself one only learns how it is written.)
    const colour = (name: string): string => {
      element.style.color = `var(${name})`;
      const { color } = style;
      element.style.color = "";
      return color;
    };
    const axis: uPlot.Axis = {
      stroke: colour("--text-2"), font: `11px ${style.fontFamily}`,
      grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
    };
    const made = new uPlot(
      {
        width: Math.max(120, element.clientWidth), height,
        legend: { show: false },
        padding: [8, 6, 0, 0],
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        scales: { y: { range: (_u, _min, max) => [0, Math.max(max > 0 ? max : 1, of === "tasks" ? 1 : 0) * 1.06] } },
        axes: [
          { ...axis, size: 24, space: 70, grid: { show: false }, values: (_u, ticks) => ticks.map(tick(ticks)) },
          { ...axis, size: 52, space: 34, ...(of ? { incrs: MARKS[of] } : {}), values: (_u, ticks) => ticks.map(format) },
        ],
        series: [
          {},
          ...lines.map((line): uPlot.Series => ({
            label: line.name, stroke: colour(line.colour), width: 1.5, spanGaps: false,
            // A number with none beside it makes no line.
            points: { size: 4, show: true, filter: alone },
            ...(line.fill ? { fill: `color-mix(in srgb, ${colour(line.colour)} 16%, transparent)` } : {}),
            ...(line.dashed ? { dash: [4, 3] } : {}),
          })),
        ],
        hooks: { setCursor: [(u) => setCursor(u.cursor.idx ?? null)] },
      },
      newest.current,
      element,
    );
    plot.current = made;
    const watch = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width > 0 && width !== made.width) made.setSize({ width, height });
    });
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, height]);

  useEffect(() => plot.current?.setData(data), [data]);

  const last = lastKnown(lines, at.length);
  const nothing = last === null ? empty : null;
  const index = cursor !== null && cursor < at.length ? cursor : last;
  return (
    <figure class="chart" aria-label={title}>
      <figcaption class="legend">
        <span class="legend-time num">{cursor !== null && at[cursor] ? timeOf(at[cursor]) : ""}</span>
        {lines.map((line) => (
          <span class="legend-item" key={line.name}>
            <span class="swatch" data-dashed={line.dashed ? "" : undefined} style={{ background: `var(${line.colour})` }} />
            {line.name}
            <b class="num">{index === null ? "–" : said(line.values[index], format)}</b>
          </span>
        ))}
      </figcaption>
      <div class="plot">
        <div ref={holder} aria-hidden="true" />
        {nothing && <p class="plot-nothing">{nothing}</p>}
      </div>
    </figure>
  );
}

const tens = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => 10 ** (from + i)).flatMap((ten) => [1, 2, 5].map((first) => first * ten));
const MARKS = {
  tasks: tens(0, 10),
  seconds: [...tens(-4, 1).filter((s) => s < 5), 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, ...[1, 2, 5, 10, 20, 50].map((day) => day * 86_400)],
};

function alone(u: uPlot, line: number): number[] {
  const values = u.data[line] ?? [];
  const out: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) out.push(i);
  }
  return out;
}

function said(value: number | null | undefined, format: (value: number) => string): string {
  return value === null || value === undefined ? "–" : format(value);
}

function lastKnown(lines: Line[], length: number): number | null {
  for (let i = length - 1; i >= 0; i--) if (lines.some((line) => line.values[i] != null)) return i;
  return null;
}

function tick(ticks: number[]): (seconds: number) => string {
  const last = ticks[ticks.length - 1] ?? 0;
  const span = last - (ticks[0] ?? 0);
  const options: Intl.DateTimeFormatOptions =
    span > 2 * 86_400 ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", ...(span < 180 ? { second: "2-digit" } : {}) };
  const format = new Intl.DateTimeFormat("en-GB", options);
  return (seconds) => format.format(seconds * 1000);
}

function timeOf(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", day: "numeric", month: "short" });
}

/** A small line without axes, for tables. */
export function Spark({ values, label }: { values: (number | null)[]; label: string }) {
  const known = values.filter((value): value is number => value !== null);
  if (known.length < 2) return <span class="faint">–</span>;
  const top = Math.max(...known, 1);
  const path = values
    .map((value, i) => (value === null ? "" : `${values[i - 1] == null ? "M" : "L"}${((i / (values.length - 1)) * 100).toFixed(1)} ${(23 - (value / top) * 22).toFixed(1)}`))
    .join("");
  return (
    <svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label={label}>
      <path d={path} vector-effect="non-scaling-stroke" />
    </svg>
  );
}
