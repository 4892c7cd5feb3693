import { Dialog } from "./dialog";

const KEYS: [string[], string][] = [
  [["g", "o"], "Overview"],
  [["g", "l"], "Lanes"],
  [["g", "t"], "Tasks"],
  [["g", "d"], "Dead letters"],
  [["g", "w"], "Workers"],
  [["g", "s"], "Submit"],
  [["j"], "Next row"],
  [["k"], "Row before"],
  [["Enter"], "Open the row"],
  [["x"], "Select the row"],
  [["/"], "Search"],
  [["p"], "Pause or resume live updates"],
  [["?"], "This help"],
  [["Esc"], "Close a dialog, leave a field"],
];

export function Help({ close }: { close: () => void }) {
  return (
    <Dialog title="Keyboard" close={close}>
      <dl class="keys">
        {KEYS.map(([keys, what]) => (
          <div key={what}>
            <dt>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
