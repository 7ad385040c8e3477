// Search and filters without leaving the page: the server's own page is fetched, and its results put in place.

import { announce, toast } from "../lib/announce";
import { byId } from "../lib/dom";
import { registerKey } from "../lib/keys";

const TYPING_MS = 250;
/** What a page of results may change: the results, and the lists of values with their counts. */
const RENEWED = ["results", "filter-model", "filter-agent", "filter-verdict", "filter-status"];

let asked: AbortController | null = null;
let typing: ReturnType<typeof setTimeout> | undefined;
let shown = typeof location === "undefined" ? "" : location.pathname + location.search;

/** The list's address for what stands in the form, without empty fields. */
export function addressOf(form: HTMLFormElement): string {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    const usual = name === "per_page" && value === "25";
    if (typeof value === "string" && value !== "" && !usual) query.append(name, value);
  }
  const text = query.toString();
  return text ? `/reports?${text}` : "/reports";
}

/** Fetch a page of the list and show its results here. */
export async function showResults(address: string, entry: "push" | "replace" | "none"): Promise<void> {
  asked?.abort();
  clearTimeout(typing); // Enter, a link or another filter was quicker: results that come twice take rows away from under a pointer
  const own = (asked = new AbortController());
  byId("results").setAttribute("aria-busy", "true");
  let fresh: Document;
  try {
    const response = await fetch(address, { signal: own.signal, credentials: "same-origin" });
    if (!response.ok || response.redirected) {
      location.assign(address); // logged out meanwhile, or an error that has a page of its own
      return;
    }
    fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch (cause) {
    if (own.signal.aborted) return;
    byId("results").removeAttribute("aria-busy");
    toast("The server cannot be reached. Is `tracescribe serve` running?", "problem", { label: "Try again", run: () => void showResults(address, entry) });
    throw cause;
  }
  shown = address;
  if (entry === "push") history.pushState(null, "", address);
  if (entry === "replace") history.replaceState(null, "", address);
  const focused = document.activeElement?.id;
  const link = document.activeElement?.closest("#results") ? document.activeElement.getAttribute("href") : null;
  for (const id of RENEWED) {
    const now = document.getElementById(id);
    const next = fresh.getElementById(id);
    if (now && next) now.replaceWith(document.adoptNode(next));
  }
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus();
  if (link !== null) document.querySelector<HTMLElement>(`#results a[href="${CSS.escape(link)}"]`)?.focus({ preventScroll: true });
  const total = Number(byId("results").dataset.total);
  announce(total === 1 ? "1 report" : `${total} reports`);
  document.dispatchEvent(new Event("results"));
}

/** Show in the form what an address asks for. */
function fillForm(form: HTMLFormElement, address: URL): void {
  for (const field of form.elements) {
    if (field instanceof HTMLInputElement && field.type !== "hidden") field.value = address.searchParams.get(field.name) ?? "";
    if (field instanceof HTMLSelectElement) field.value = address.searchParams.get(field.name) ?? (field.name === "per_page" ? "25" : "");
  }
}

/** Hidden fields carry the sort, which links change. */
function keepHidden(form: HTMLFormElement): void {
  const now = new URL(location.href).searchParams;
  for (const name of ["prompt", "sort", "reverse"]) {
    let field = form.querySelector<HTMLInputElement>(`input[type=hidden][name=${name}]`);
    const value = now.get(name);
    if (value === null) {
      field?.remove();
      continue;
    }
    if (!field) {
      field = document.createElement("input");
      field.type = "hidden";
      field.name = name;
      form.append(field);
    }
    field.value = value;
  }
}

export function mountFilters(): void {
  const form = byId<HTMLFormElement>("filters");
  const search = byId<HTMLInputElement>("q");
  const more = byId<HTMLDetailsElement>("filters-more");
  const wide = matchMedia("(min-width: 46rem)");
  const fold = (): void => {
    more.open = wide.matches || [...new URL(location.href).searchParams.keys()].some((name) => form.elements.namedItem(name) instanceof HTMLSelectElement);
  };
  fold();
  wide.addEventListener("change", fold);

  const soon = (): void => {
    clearTimeout(typing);
    typing = setTimeout(() => void showResults(addressOf(form), "replace"), TYPING_MS);
  };
  form.addEventListener("input", (event) => {
    if (event.target instanceof HTMLInputElement) soon();
  });
  form.addEventListener("change", (event) => {
    if (event.target instanceof HTMLSelectElement) void showResults(addressOf(form), "push");
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void showResults(addressOf(form), "push");
  });
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>("a[data-results-link]") : null;
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    const address = new URL(link.href);
    void showResults(address.pathname + address.search, "push").then(() => {
      fillForm(form, address);
      byId("results").scrollIntoView({ block: "nearest" });
    });
  });
  window.addEventListener("popstate", () => {
    if (location.pathname + location.search === shown) return; // only the place on the page changed
    fillForm(form, new URL(location.href));
    void showResults(location.pathname + location.search, "none");
  });
  document.addEventListener("results", () => keepHidden(form));

  registerKey({
    keys: "/",
    what: "Search",
    section: "Reports",
    run: () => {
      search.focus();
      search.select();
    },
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") search.blur();
    if (event.key === "ArrowDown") document.querySelector<HTMLElement>(".report-link")?.focus();
  });
}
