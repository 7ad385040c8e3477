// Requests to the app's own API: JSON in and out, the CSRF token, and errors that say what to do.

/** What the server refused, or that it could not be reached (status 0). `body` is what it answered. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly error: string,
    message: string,
    readonly body: unknown,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

function csrfToken(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csrf"]')?.content ?? "";
}

function field(body: unknown, name: string): string | null {
  if (typeof body !== "object" || body === null) return null;
  const value = (body as Record<string, unknown>)[name];
  return typeof value === "string" ? value : null;
}

async function send(path: string, init: RequestInit): Promise<Response> {
  if (!path.startsWith("/") || path.startsWith("//")) throw new Error(`${path}: only paths of this server`);
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...init });
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new ApiError(0, "unreachable", "The server cannot be reached. Is `tracescribe serve` running? Try again.", null);
  }
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => null);
  const message = field(body, "message") ?? `The server answered ${response.status} ${response.statusText}.`;
  throw new ApiError(response.status, field(body, "error") ?? "error", message, body);
}

/** GET JSON. */
export async function getJson<T>(path: string, options: { signal?: AbortSignal } = {}): Promise<T> {
  const response = await send(path, { ...options, headers: { Accept: "application/json" } });
  return (await response.json()) as T;
}

/** GET bytes. */
export async function getBytes(path: string, options: { signal?: AbortSignal } = {}): Promise<ArrayBuffer> {
  return await (await send(path, options)).arrayBuffer();
}

/** POST JSON, or a form with files; gives the JSON that comes back. */
export async function postJson<T>(path: string, body: unknown, options: { signal?: AbortSignal } = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json", "X-CSRF-Token": csrfToken() };
  const form = typeof FormData !== "undefined" && body instanceof FormData;
  if (!form) headers["Content-Type"] = "application/json";
  const response = await send(path, { ...options, method: "POST", headers, body: form ? body : JSON.stringify(body) });
  return (await response.json()) as T;
}

/** One line for a person about whatever was thrown. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** A path with its query; values that are null, undefined or empty are left out, lists repeat their name. */
export function withQuery(path: string, values: Record<string, string | number | null | undefined | readonly string[]>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? (value as readonly string[]) : [String(value)]) query.append(name, one);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}
