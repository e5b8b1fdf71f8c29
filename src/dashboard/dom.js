// Building and updating elements without a framework. Text only ever enters as text: nothing that a
// proxy or the control plane says is read as markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {string | number | boolean | null | undefined | ((event: any) => void)} Attribute
 * @typedef {Node | string | null | undefined | false} Child
 */

/**
 * An HTML element. `class` and attributes as they are written, `on…` as listeners.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

/**
 * An SVG element.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, attributes = {}, ...children) {
  const element = /** @type {SVGElementTagNameMap[K]} */ (document.createElementNS(SVG, tag));
  fill(element, attributes, children);
  return element;
}

/**
 * @param {Element} element
 * @param {Record<string, Attribute>} attributes
 * @param {readonly Child[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else setAttribute(element, name, value);
  }
  for (const child of children) if (child) element.append(child);
}

/**
 * Sets, or removes for null, false and undefined; does nothing when it is the same.
 * @param {Element} element
 * @param {string} name
 * @param {string | number | boolean | null | undefined} value
 */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/**
 * Sets the text when it differs, so that a selection by the reader survives an update.
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * The element with this id, which the page has.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`The page has no #${id}`);
  return element;
}

/**
 * A list that keeps its elements: items keep theirs by key, so that focus, selection and opened
 * details stay where they are when figures change.
 * @template T
 * @template {Element} E
 * @param {Element} parent
 * @param {(item: T) => string} key
 * @param {(item: T) => { element: E, update: (item: T) => void }} create
 * @returns {(items: readonly T[]) => void}
 */
export function keyed(parent, key, create) {
  /** @type {Map<string, { element: E, update: (item: T) => void }>} */
  let known = new Map();
  return (items) => {
    const next = new Map();
    /** @type {Element | null} */
    let at = parent.firstElementChild;
    for (const item of items) {
      const id = key(item);
      if (next.has(id)) continue;
      const entry = known.get(id) ?? create(item);
      entry.update(item);
      next.set(id, entry);
      if (entry.element === at) at = at.nextElementSibling;
      else parent.insertBefore(entry.element, at);
    }
    for (const [id, { element }] of known) if (!next.has(id)) element.remove();
    known = next;
  };
}
