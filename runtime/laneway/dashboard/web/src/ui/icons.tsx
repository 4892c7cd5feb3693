/** The few pictures, drawn on a grid of 16. They stand beside words, so readers skip them. */

const PATHS = {
  overview: "M2 13.5h12M3.5 11V7.5M6.5 11V4M9.5 11V8.5M12.5 11V2.5",
  lanes: "M2 4h12M2 8h8M2 12h4.5",
  tasks: "M2.5 4l1 1 2-2.2M2.5 8.6l1 1 2-2.2M2.5 13l1 1 2-2.2M8 4h6M8 8.5h6M8 13h6",
  dead: "M8 2.2l6.3 11.3H1.7zM8 6.5v3.2M8 11.6v.4",
  workers: "M2.5 3h11v4h-11zM2.5 9.5h11v4h-11zM5 5h.1M5 11.5h.1",
  submit: "M8 13V3.5M4 7.2L8 3.2l4 4M3 14.5h10",
  sun: "M8 5.2a2.8 2.8 0 100 5.6 2.8 2.8 0 000-5.6zM8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9",
  moon: "M13.2 9.6A5.6 5.6 0 016.4 2.8a5.6 5.6 0 106.8 6.8z",
  half: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 2v12M8 5h4.8M8 8h6M8 11h4.8",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3l7.5 5L5 13z",
  keys: "M1.8 4h12.4v8H1.8zM4.2 6.7h.1M6.8 6.7h.1M9.4 6.7h.1M12 6.7h-.1M5 9.5h6",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  search: "M7 2.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.3 10.3l3.5 3.5",
  logout: "M9.5 2.5h-6v11h6M6.5 8h7.5M11.5 5.3L14.2 8l-2.7 2.7",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
