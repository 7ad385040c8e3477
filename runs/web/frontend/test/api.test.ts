import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { standInDocument } from "./dom_stand_in";

standInDocument();
const { ApiError, getJson, messageOf, postJson, withQuery } = await import("../src/lib/api");

let asked: { path: string; init: RequestInit }[] = [];
let answer: () => Response | Promise<Response>;

beforeEach(() => {
  asked = [];
  globalThis.fetch = (async (path: string, init: RequestInit) => {
    asked.push({ path, init });
    return await answer();
  }) as typeof fetch;
});

test("a post carries the page's token and JSON", async () => {
  answer = () => Response.json({ version: 3 });
  assert.deepEqual(await postJson("/api/x", { a: "ü" }), { version: 3 });
  const headers = new Headers(asked[0]!.init.headers);
  assert.equal(headers.get("X-CSRF-Token"), "token-of-the-page");
  assert.equal(headers.get("Content-Type"), "application/json");
  assert.equal(asked[0]!.init.body, '{"a":"ü"}');
});

test("a form with files keeps its own content type", async () => {
  answer = () => Response.json({});
  await postJson("/api/x", new FormData());
  assert.equal(new Headers(asked[0]!.init.headers).get("Content-Type"), null);
});

test("a refusal says what the server said, with what it sent along", async () => {
  answer = () => Response.json({ error: "conflict", message: "rosa saved first; look again", state: { version: 4 } }, { status: 409 });
  await assert.rejects(getJson("/api/x"), (error: InstanceType<typeof ApiError>) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.status, error.error, error.message], [409, "conflict", "rosa saved first; look again"]);
    assert.deepEqual((error.body as { state: unknown }).state, { version: 4 });
    return true;
  });
});

test("an answer that is no JSON still makes one line", async () => {
  answer = () => new Response("<h1>proxy</h1>", { status: 502, statusText: "Bad Gateway" });
  await assert.rejects(getJson("/api/x"), /502 Bad Gateway/);
});

test("a server that is gone is told as such, an aborted request is not", async () => {
  answer = () => Promise.reject(new TypeError("fetch failed"));
  await assert.rejects(getJson("/api/x"), (error: InstanceType<typeof ApiError>) => error.status === 0 && error.error === "unreachable");
  answer = () => Promise.reject(new DOMException("stop", "AbortError"));
  await assert.rejects(getJson("/api/x"), (error: Error) => error.name === "AbortError");
});

test("only this server is asked", async () => {
  answer = () => Response.json({});
  for (const path of ["https://elsewhere.example/x", "//elsewhere.example/x", "x"]) await assert.rejects(getJson(path), /only paths/);
  assert.equal(asked.length, 0);
});

test("queries leave out what is empty and escape what is not", () => {
  assert.equal(withQuery("/api/x", { q: "a b&c", model: "", page: 2, agent: null, job: undefined, tag: ["x", "y"] }), "/api/x?q=a+b%26c&page=2&tag=x&tag=y");
  assert.equal(withQuery("/api/x", {}), "/api/x");
});

test("anything thrown makes a message", () => {
  assert.equal(messageOf(new Error("no")), "no");
  assert.equal(messageOf("plain"), "plain");
});
