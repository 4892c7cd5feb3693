import { useEffect, useRef, useState } from "preact/hooks";
import { asRefusal } from "../api/client";
import { login } from "../state/session";
import { Button } from "../ui/basics";

/** Asks for a credential, in the place of the page that was asked for: its address stays, so one goes on there. */
export function Login({ why }: { why: string | null }) {
  const field = useRef<HTMLInputElement>(null);
  const [token, setToken] = useState("");
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  useEffect(() => field.current?.focus(), []);

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const text = token.trim();
    if (!text) {
      setTrouble("Paste a token first.");
      field.current?.focus();
      return;
    }
    setBusy(true);
    setTrouble(null);
    try {
      await login(text);
    } catch (error) {
      const refusal = asRefusal(error);
      setTrouble(refusal.status === 401 ? `The gateway does not take this token: ${refusal.message}` : refusal.message);
      setBusy(false);
      field.current?.select();
    }
  };

  return (
    <main class="login" id="main">
      <form class="login-box" onSubmit={(event) => void submit(event)}>
        <svg class="login-mark" viewBox="0 0 20 20" aria-hidden="true"><path class="b1" d="M3 5h14" /><path class="b2" d="M3 10h9" /><path class="b3" d="M3 15h5" /></svg>
        <h1>Log in to Laneway</h1>
        {why && <p class="notice warn" role="alert">{why} Log in again and you are back where you were.</p>}
        <label class="field">
          <span class="field-name">Token</span>
          <span class="with-button">
            <input
              ref={field} type={(shown ? "text" : "password") as "text"} value={token} autocomplete="off" spellcheck={false}
              aria-invalid={trouble !== null} aria-describedby="login-help login-trouble"
              onInput={(event) => setToken(event.currentTarget.value)}
            />
            <Button aria-pressed={shown} onClick={() => setShown(!shown)}>{shown ? "Hide" : "Show"}</Button>
          </span>
        </label>
        <p class="field-error" id="login-trouble" role="alert">{trouble}</p>
        <p class="faint small" id="login-help">An API key (<code>lw_…</code>), an OIDC token, or a Kubernetes service account's token. It is kept by this tab until you close it or log out.</p>
        <Button type="submit" kind="primary" disabled={busy}>{busy ? "Checking…" : "Log in"}</Button>
      </form>
    </main>
  );
}
