// Questions in native <dialog> elements: the browser keeps focus inside, closes on Escape, and we give focus back.

import { append, h } from "./dom";
import type { Children } from "./dom";

let made = 0;

/** An open modal dialog. */
export interface Dialog {
  readonly element: HTMLDialogElement;
  readonly body: HTMLElement;
  close(): void;
}

/**
 * Open a modal dialog with a title and a close button.
 *
 * @param whenClosed runs once it is closed, however that came.
 */
export function openDialog(title: string, content: Children, options: { wide?: boolean; whenClosed?: () => void } = {}): Dialog {
  const before = document.activeElement;
  const id = `dialog-${++made}`;
  const body = h("div", { class: "dialog-body" });
  append(body, content);
  const close = (): void => element.close();
  const element = h(
    "dialog",
    { class: options.wide ? "dialog dialog-wide" : "dialog", "aria-labelledby": id },
    h("header", { class: "dialog-head" }, h("h2", { id }, title), h("button", { type: "button", class: "button button-quiet icon-button", "aria-label": "Close", onclick: close }, "×")),
    body,
  );
  element.addEventListener("close", () => {
    element.remove();
    // this event comes a moment after the dialog is gone: a field that a quick key has opened by then keeps the focus
    const free = document.activeElement === null || document.activeElement === document.body;
    if (free && before instanceof HTMLElement && before.isConnected) before.focus();
    options.whenClosed?.();
  });
  element.addEventListener("click", (event) => {
    if (event.target === element) close(); // on the backdrop
  });
  document.body.append(element);
  element.showModal();
  return { element, body, close };
}

interface Question {
  title: string;
  text?: string;
  yes?: string;
  no?: string;
  danger?: boolean;
  /** Runs when it is given up by its own button; Escape and the cross may have been a slip. */
  givenUp?: () => void;
}

function asked<T>(question: Question, fields: Children, answer: () => T | null, valueWhenClosed: T): Promise<T> {
  return new Promise((resolve) => {
    let result = valueWhenClosed;
    const finish = (event: Event): void => {
      event.preventDefault();
      const given = answer();
      if (given === null) return;
      result = given;
      dialog.close();
    };
    const form = h(
      "form",
      { class: "stack", novalidate: true, onsubmit: finish },
      question.text ? h("p", null, question.text) : null,
      fields,
      h(
        "div",
        { class: "row row-end" },
        h("button", { type: "button", class: "button", onclick: () => (question.givenUp?.(), dialog.close()) }, question.no ?? "Cancel"),
        h("button", { type: "submit", class: question.danger ? "button button-danger" : "button button-main" }, question.yes ?? "OK"),
      ),
    );
    const dialog = openDialog(question.title, form, { whenClosed: () => resolve(result) });
    form.querySelector<HTMLElement>("input, textarea, select, button[type=submit]")?.focus();
  });
}

/** Ask yes or no; closing it is no. */
export function confirmDialog(question: Question): Promise<boolean> {
  return asked(question, null, () => true, false);
}

export interface TextQuestion extends Question {
  label: string;
  value?: string;
  placeholder?: string;
  maxLength?: number;
  multiline?: boolean;
  /** Whether nothing at all is an answer. */
  optional?: boolean;
  /** Runs at every change, so that what is typed can be kept. */
  typed?: (text: string) => void;
}

/** Ask for a text; null when the dialog was closed without an answer. The text comes without spaces around it. */
export function askText(question: TextQuestion): Promise<string | null> {
  const id = `dialog-text-${made + 1}`;
  const attributes = { id, maxlength: question.maxLength ?? 2000, placeholder: question.placeholder, "aria-describedby": `${id}-problem` };
  const input = question.multiline ? h("textarea", { ...attributes, rows: 4 }) : h("input", { ...attributes, type: "text", autocomplete: "off" });
  input.value = question.value ?? "";
  const problem = h("p", { id: `${id}-problem`, class: "field-problem", role: "alert" });
  const answer = (): string | null => {
    const text = input.value.trim();
    if (text || question.optional) return text;
    problem.textContent = "Write something, or cancel.";
    input.setAttribute("aria-invalid", "true");
    input.focus();
    return null;
  };
  input.addEventListener("input", () => question.typed?.(input.value));
  input.addEventListener("keydown", (event) => {
    if ((event as KeyboardEvent).key === "Enter" && ((event as KeyboardEvent).ctrlKey || (event as KeyboardEvent).metaKey)) input.form?.requestSubmit();
  });
  const label = h("label", { for: id }, question.label);
  const answered = asked<string | null>(question, h("div", { class: "field" }, label, input, problem), answer, null);
  // at once: later, a first letter that was typed quickly would be selected and lost
  if (question.multiline) input.setSelectionRange(input.value.length, input.value.length);
  else input.select();
  return answered;
}
