/** Questions. The browser's own dialog keeps the focus inside, closes by Escape, and gives the focus back. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Button } from "./basics";

export function Dialog({ title, close, children, wide = false }: {
  title: string; close: () => void; children: ComponentChildren; wide?: boolean;
}) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement as HTMLElement | null;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={wide ? "wide" : ""}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClick={(event) => event.target === element.current && close()}
    >
      <div class="dialog-body">
        <div class="dialog-head">
          <h2 id={id}>{title}</h2>
          <Button kind="quiet" icon="close" aria-label="Close" class="button quiet square" onClick={close} />
        </div>
        {children}
      </div>
    </dialog>
  );
}

/** A question with one thing to do; nothing is done by closing it. */
export function Confirm({ title, action, danger = false, ready = true, busy = false, act, close, children }: {
  title: string; action: string; danger?: boolean; ready?: boolean; busy?: boolean;
  act: () => void; close: () => void; children: ComponentChildren;
}) {
  return (
    <Dialog title={title} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (ready && !busy) act();
        }}
      >
        {children}
        <div class="dialog-foot">
          <Button onClick={close}>Keep as it is</Button>
          <Button type="submit" kind={danger ? "danger" : "primary"} disabled={!ready || busy}>
            {busy ? "Working…" : action}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
