// A small graph as a picture: strong ties are thick and short, what is mentioned often is large.

import { el, svg } from "./dom.js";
import { plural } from "./format.js";
import { excerpt, plain } from "./text.js";

const WIDE = { width: 860, height: 480 };
const NARROW = { width: 430, height: 440 }; // a phone: else the names could not be read
const EDGE = 58;
const ROUNDS = 320;

/** Returns the picture and `tie(ties)`, which adds ties among the neighbours: {pair, npmi, together}. */
export function network(centre, around, { walk }) {
  const most = Math.max(centre.memories ?? 1, ...around.map((node) => node.memories), 1);
  const nodes = [{ ...centre, middle: true }, ...around].map((node, index) => ({
    ...node,
    radius: 7 + 19 * Math.sqrt((node.memories ?? most) / most),
    ...begin(index, around.length),
  }));
  const place = new Map(nodes.map((node, index) => [node.canonical, index]));
  const spokes = around.map((node, index) => ({
    from: 0,
    to: index + 1,
    npmi: node.npmi,
    together: node.together,
  }));
  const size = matchMedia("(max-width: 40rem)").matches ? NARROW : WIDE;
  const element = el("div", { class: "network" });

  const draw = (ties) => {
    settle(nodes, [...spokes, ...ties]);
    const focused = element.contains(document.activeElement) && document.activeElement.dataset;
    element.replaceChildren(picture(nodes, [...ties, ...spokes], size, walk));
    if (focused) element.querySelector(`[data-entity="${CSS.escape(focused.entity)}"]`)?.focus();
  };
  draw([]);
  return {
    element,
    tie(found) {
      draw(
        found.map(({ pair, npmi, together }) => ({
          from: place.get(pair[0]),
          to: place.get(pair[1]),
          npmi,
          together,
          among: true,
        })),
      );
    },
  };
}

function begin(index, others) {
  if (index === 0) return { x: 0, y: 0 };
  const angle = ((index - 1) / others) * 2 * Math.PI - Math.PI / 2;
  const far = 150 + 40 * (index % 2);
  return { x: Math.cos(angle) * far * 1.5, y: Math.sin(angle) * far };
}

/** Lets springs and repulsion find places; the same graph always gets the same ones. */
function settle(nodes, edges) {
  for (let round = 0; round < ROUNDS; round += 1) {
    const step = 0.9 * (1 - round / ROUNDS) + 0.02;
    const push = nodes.map(() => ({ x: 0, y: 0 }));
    for (let one = 0; one < nodes.length; one += 1) {
      for (let other = one + 1; other < nodes.length; other += 1) {
        const [dx, dy, far] = between(nodes[one], nodes[other]);
        const force =
          9000 / (far * far) +
          Math.max(0, nodes[one].radius + nodes[other].radius + 34 - far) * 0.4;
        shift(push, one, other, dx / far, dy / far, -force);
      }
    }
    for (const { from, to, npmi, among } of edges) {
      const [dx, dy, far] = between(nodes[from], nodes[to]);
      const length = among ? 90 : 110 + 130 * (1 - npmi);
      shift(push, from, to, dx / far, dy / far, (far - length) * (among ? 0.015 : 0.06));
    }
    nodes.forEach((node, index) => {
      if (node.middle) return;
      node.x += Math.max(-14, Math.min(14, push[index].x)) * step * 1.25; // wider than high
      node.y += Math.max(-14, Math.min(14, push[index].y)) * step * 0.85;
    });
  }
}

function between(one, other) {
  const dx = other.x - one.x || 0.01;
  const dy = other.y - one.y || 0.01;
  return [dx, dy, Math.max(Math.hypot(dx, dy), 1)];
}

function shift(push, one, other, x, y, force) {
  push[one].x += x * force;
  push[one].y += y * force;
  push[other].x -= x * force;
  push[other].y -= y * force;
}

function fitted(nodes, { width, height }) {
  const low = {
    x: Math.min(...nodes.map((node) => node.x)),
    y: Math.min(...nodes.map((node) => node.y)),
  };
  const high = {
    x: Math.max(...nodes.map((node) => node.x)),
    y: Math.max(...nodes.map((node) => node.y)),
  };
  const by = {
    x: Math.min((width - 2 * EDGE) / Math.max(high.x - low.x, 1), 1.6),
    y: Math.min((height - 2 * EDGE) / Math.max(high.y - low.y, 1), 1.6),
  };
  return nodes.map((node) => ({
    x: width / 2 + (node.x - (low.x + high.x) / 2) * by.x,
    y: height / 2 - 8 + (node.y - (low.y + high.y) / 2) * by.y,
  }));
}

function picture(nodes, edges, size, walk) {
  const at = fitted(nodes, size);
  const lines = edges.map(({ from, to, npmi, together, among }) =>
    svg(
      "line",
      {
        class: among ? "among" : "tie",
        x1: at[from].x,
        y1: at[from].y,
        x2: at[to].x,
        y2: at[to].y,
        "stroke-width": (among ? 0.6 : 1) + npmi * (among ? 3 : 7),
      },
      svg(
        "title",
        {},
        plain(
          `${nodes[from].name} and ${nodes[to].name}: ${plural(together, "memory mentions", "memories mention")} both, npmi ${npmi.toFixed(2)}`,
        ),
      ),
    ),
  );
  const circles = nodes.map((node, index) => circle(node, at[index], walk));
  return svg(
    "svg",
    {
      viewBox: `0 0 ${size.width} ${size.height}`,
      role: "group",
      "aria-label": `${nodes[0].name} and its neighbours`,
    },
    lines,
    circles,
  );
}

function circle(node, { x, y }, walk) {
  const tie = node.middle ? [] : [`${node.together} together`, `npmi ${node.npmi.toFixed(2)}`];
  const size = node.memories === null ? [] : [plural(node.memories, "memory", "memories")];
  const told = plain([node.name, ...size, ...tie].join(", "));
  const go = () => node.middle || walk(node.name);
  return svg(
    "g",
    {
      class: node.middle ? "node middle" : "node",
      transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
      role: node.middle ? "img" : "link",
      tabindex: node.middle ? null : "0",
      "aria-label": told,
      "data-entity": node.name,
      onclick: go,
      onkeydown: (event) =>
        (event.key === "Enter" || event.key === " ") && (event.preventDefault(), go()),
    },
    svg("title", {}, told),
    svg("circle", { r: node.radius.toFixed(1) }),
    svg(
      "text",
      { y: (node.radius + 14).toFixed(1), "text-anchor": "middle", direction: "ltr" },
      plain(excerpt(node.name, 22)),
    ),
  );
}
