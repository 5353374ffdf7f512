// Elements are made here and nowhere else, by name and text: nothing is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an HTML element. `on…` adds a listener, `style` sets properties, false and null are left out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Makes an SVG element, as `el` does. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") {
      // by property: a policy without 'unsafe-inline' refuses the attribute
      for (const [property, set] of Object.entries(value)) element.style.setProperty(property, set);
    } else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Says something to those who listen to the page; the text is on screen elsewhere. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** Calls a function once its arguments have stayed the same for a moment. */
export function settled(act, milliseconds = 200) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...args), milliseconds);
  };
}
