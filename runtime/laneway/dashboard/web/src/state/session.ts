/** Who uses the dashboard. The credential is kept by the tab (sessionStorage) and goes nowhere but to the API. */

import { computed, signal } from "@preact/signals";
import { ask, asRefusal, useCredential, whenExpired } from "../api/client";
import type { WhoAmI } from "../api/types";

const KEY = "laneway.token";

/** Gateways of before credentials have no whoami, and refuse nobody. */
const EVERYBODY: WhoAmI = {
  name: "anonymous", role: "admin", tenants: null, expiresAt: null, auth: "none",
  permissions: ["read", "submit", "operate", "admin", "payloads"],
};

export type Session =
  | { at: "starting" }
  | { at: "failed"; why: string }
  | { at: "login"; why: string | null }
  | { at: "in"; who: WhoAmI };

export const session = signal<Session>({ at: "starting" });
export const who = computed(() => (session.value.at === "in" ? session.value.who : null));

/** Whether the credential may do it. The API decides: this only spares people buttons that would be refused. */
export function can(permission: string): boolean {
  return who.value?.permissions.includes(permission) ?? false;
}

/** Numbers of a whole queue are not for credentials that are bound to tenants. */
export const bound = computed(() => who.value?.tenants ?? null);

/** Starts with the credential that this tab has, if it has one. */
export async function resume(): Promise<void> {
  whenExpired((why) => {
    if (session.value.at !== "in") return;
    forget();
    session.value = { at: "login", why: `Your session has ended (${why}).` };
  });
  useCredential(sessionStorage.getItem(KEY));
  session.value = { at: "starting" };
  try {
    session.value = { at: "in", who: await whoAmI() };
  } catch (error) {
    const refusal = asRefusal(error);
    const had = sessionStorage.getItem(KEY) !== null;
    if (refusal.status !== 401) session.value = { at: "failed", why: refusal.message };
    else {
      forget();
      session.value = { at: "login", why: had ? `Your session has ended (${refusal.message}).` : null };
    }
  }
}

/** Logs in. Throws a Refusal when the credential is not taken. */
export async function login(token: string): Promise<void> {
  useCredential(token);
  try {
    const found = await whoAmI();
    sessionStorage.setItem(KEY, token);
    session.value = { at: "in", who: found };
  } catch (error) {
    useCredential(null);
    throw error;
  }
}

export function logout(): void {
  forget();
  session.value = { at: "login", why: null };
}

function forget(): void {
  sessionStorage.removeItem(KEY);
  useCredential(null);
}

async function whoAmI(): Promise<WhoAmI> {
  try {
    return (await (await ask("/api/v1/whoami", { trying: true })).json()) as WhoAmI;
  } catch (error) {
    if (asRefusal(error).status === 404) return EVERYBODY;
    throw error;
  }
}
