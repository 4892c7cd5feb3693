import { dismiss, toasts } from "../state/toasts";
import { Icon } from "./icons";

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div class={`toast ${toast.bad ? "bad" : ""}`} key={toast.n}>
          <span>{toast.text}</span>
          <button type="button" class="button quiet square" aria-label="Dismiss" onClick={() => dismiss(toast.n)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
