// The few things that every part of the page does to the document.

export const $ = (id) => document.getElementById(id);

/** Sets a text, if it is another: screen readers hear changes, not repetitions. */
export function text(node, content) {
  if (node.textContent !== content) node.textContent = content;
}

/** A new element. */
export function node(name, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
}

/** Fills a select with `[value, label]`s, and keeps what is picked if it still is there. */
export function options(select, pairs) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, label]) => node("option", { value }, label)));
  if (pairs.some(([value]) => value === before)) select.value = before;
}
