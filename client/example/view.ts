// How the page is written: as text, never as HTML, and only what has changed, so that a screen reader, a selection and the
// focus stay where they are.

export function element<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  className = "",
  content = "",
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = content;
  return made;
}

export function set(target: HTMLElement, content: string, className = target.className): void {
  if (target.textContent !== content) target.textContent = content;
  if (target.className !== className) target.className = className;
}

export function text(id: string, content: string): void {
  set(element(id), content);
}

/** Returns the one child of `row` with that class, made once. */
export function part<Tag extends keyof HTMLElementTagNameMap>(
  row: HTMLElement,
  tag: Tag,
  className: string,
): HTMLElementTagNameMap[Tag] {
  const found = row.querySelector<HTMLElementTagNameMap[Tag]>(`:scope > .${className}`);
  if (found) return found;
  const made = make(tag, className);
  row.append(made);
  return made;
}

/** Draws one row for each item, in order; the row of an item stays the same element. */
export function rows<Item>(
  list: HTMLElement,
  items: readonly Item[],
  key: (item: Item) => string,
  draw: (row: HTMLElement, item: Item) => void,
): void {
  const old = new Map([...list.children].map((row) => [(row as HTMLElement).dataset.key, row as HTMLElement]));
  items.forEach((item, at) => {
    const name = key(item);
    const row = old.get(name) ?? make("li");
    old.delete(name);
    row.dataset.key = name;
    draw(row, item);
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
  });
  for (const row of old.values()) row.remove();
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Returns "a, b and c". */
export function listing(items: readonly string[]): string {
  return items.length < 2 ? items.join() : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

export function duration(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

export function ago(time: number): string {
  const seconds = Math.max(0, Math.round((Date.now() - time) / 1_000));
  if (seconds < 5) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3_600)} h ago`;
}
