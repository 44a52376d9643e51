"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const K = data.classes.length;
const NO_CLASS = "(no class)", MANY = data.many;
const LISTED = 12;  // rows of a long table at first
const byId = (id) => document.getElementById(id);
const groupOf = data.classes.map((_, k) => data.groups.findIndex((group) => group.includes(k)));
const named = (k) => (k < K ? data.classes[k] : NO_CLASS);
const columns = [...data.classes.keys(), ...(data.noClass ? [K] : [])];

// ---- elements and numbers

function make(tag, settings = {}, ...inside) {
  const svg = ["svg", "g", "path", "line", "circle", "rect", "text", "polyline", "title"].includes(tag) && settings.svg !== false;
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name === "svg" || value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, to] of Object.entries(value)) node.style.setProperty(key, to);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...inside.flat(Infinity).filter((part) => part !== null && part !== undefined && part !== ""));
  return node;
}
const percent = (share, digits = 2) => (share === null || Number.isNaN(share) ? "-" : (100 * share).toFixed(digits).replace("-", "\u2212"));
const points = (share, digits = 2) => {
  const text = percent(share, digits), size = text.replace("\u2212", "");
  return Number(size) === 0 ? size : text === "-" || text !== size ? text : "+" + text;
};
const whole = (count) => count.toLocaleString("en-US");
const link = (...names) => "#" + names.map(encodeURIComponent).join("/");
const imageLink = (image) => "#/" + encodeURIComponent(data.names[image]);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const sign = (change, good) => (Math.abs(change) < 5e-5 || Number.isNaN(change) ? "" : change > 0 === good ? "better" : "worse");

function badge(number) {
  return make("a", { class: `group g${number % 8}`, href: "#section-groups", tabindex: -1, title: `group ${number + 1}` }, String(number + 1));
}
const classLink = (k) => (k < K ? make("a", { href: link(named(k)) }, named(k)) : named(k));
const listed = (nodes) => nodes.map((node, n) => [n ? ", " : "", node]);

// a table's first rows, and a button that shows the others: returns the button, or "" where there are none
function shorten(rows, what, most = LISTED) {
  if (rows.length <= most) return "";
  const more = rows.slice(most);
  more.forEach((row) => { row.hidden = true; });
  const show = () => {
    more.forEach((row) => { row.hidden = false; });
    button.remove();
    const next = more[0].querySelector("a");  // for those who go by keys, on from where they were
    if (next) next.focus({ preventScroll: true });
  };
  const button = make("button", { type: "button", class: "rest", onclick: show }, `Show ${what}`);
  return button;
}

// a sentence with its code, and with links to the images and classes that it names
const escaped = (names) => [...names].sort((a, b) => b.length - a.length).map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
let naming = null;
function prose(sentence) {
  naming = naming || new RegExp(`(\`[^\`]+\`)|(?<![\\w/])(${escaped(Object.values(data.names)) || "(?!)"})(?![\\w/])|(?<=\\b(?:of|for) |[(,] ?)(${escaped(data.classes)})(?!\\w)`, "u");
  return sentence.split(naming).map((part, n) => {
    if (!part) return "";
    if (n % 4 === 1) return make("code", {}, part.slice(1, -1));
    if (n % 4 === 2) return make("a", { href: "#/" + encodeURIComponent(part) }, part);
    return n % 4 === 3 ? make("a", { href: link(part) }, part) : part;
  });
}

function choice(label, options, selected, change) {
  const select = make("select", { onchange: () => change(select.value) },
    options.map(([value, text]) => make("option", { value, selected: value === selected }, text)));
  return make("label", {}, label, " ", select);
}

// ---- what is computed from counts

const arms = data.arms.map((arm) => {
  const rows = arm.counts.map(sum);
  return { ...arm, rows, ofColumn: columns.map((j) => sum(arm.counts.map((row) => row[j]))) };
});
const several = arms.length > 1;

function value(arm, i, j, measure) {
  const count = arm.counts[i][j];
  if (measure === "pixels") return count;
  const all = measure === "truth" ? arm.rows[i] : arm.ofColumn[columns.indexOf(j)];
  return all ? count / all : 0;
}

// ---- the matrix

const MEASURES = [["truth", "% of the truth"], ["prediction", "% of the prediction"], ["pixels", "pixels"]];
const matrix = { arm: 0, against: -1, measure: "truth", order: "groups", which: K > MANY ? "costliest" : "all" };

// the classes that are shown, in order: of many those whose confusions cost most
function order() {
  const classes = [...data.classes.keys()], grouped = [...new Set([...data.groups.flat(), ...classes])];
  const cost = classes.map((k) => sum(arms[0].costs[k]) + sum(arms[0].costs.map((row) => row[k])));
  const shown = new Set(matrix.which === "all" ? classes : [...classes].sort((a, b) => cost[b] - cost[a]).slice(0, MANY));
  return (matrix.order === "groups" ? grouped : classes).filter((k) => shown.has(k));
}

function cellText(i, j) {
  const arm = arms[matrix.arm], count = arm.counts[i][j];
  const told = i === j ? `${named(i)}, right` : `${named(i)} taken for ${named(j)}`;
  let text = `${told}: ${whole(count)} pixels, ${percent(value(arm, i, j, "truth"))} % of ${named(i)}, ` +
    `${percent(value(arm, i, j, "prediction"))} % of all predicted ${named(j)}`;
  if (i !== j && count) text += `; costs ${percent(arm.costs[i][j] / 1e6)} points`;
  if (matrix.against >= 0) {
    const other = arms[matrix.against];
    const change = value(arm, i, j, matrix.measure) - value(other, i, j, matrix.measure);
    const shown = matrix.measure === "pixels" ? `${change > 0 ? "+" : ""}${whole(change)} pixels` : `${points(change)} points`;
    text += `; ${shown} against ${other.name}`;
  }
  return text;
}

function drawMatrix() {
  const rows = order(), places = data.noClass ? [...rows, K] : rows, arm = arms[matrix.arm];
  const other = matrix.against >= 0 ? arms[matrix.against] : null, isPixels = matrix.measure === "pixels";
  // colours are full at the strongest confusion of any arm, or at the largest change, so that none look alike
  const strengths = (of, against) => rows.flatMap((i) => places.filter((j) => j !== i || against).map((j) =>
    Math.abs(value(of, i, j, matrix.measure) - (against ? value(against, i, j, matrix.measure) : 0))));
  const most = Math.max(isPixels ? 1 : 0.05, ...(other ? strengths(arm, other) : arms.flatMap((of) => strengths(of))));
  const head = make("tr", {}, make("td", { class: "corner" }, make("span", {}, "truth \u2193 prediction \u2192")),
    places.map((j) => make("th", { scope: "col", class: j < K && groupOf[j] >= 0 ? `t${groupOf[j] % 8}` : "" },
      j < K ? make("a", { href: link(named(j)) }, named(j)) : make("span", {}, named(j)))));
  const cells = new Map();
  const body = rows.map((i, row) => make("tr", { class: arm.rows[i] ? "" : "absent" },
    make("th", { scope: "row", class: groupOf[i] >= 0 ? `t${groupOf[i] % 8}` : "" }, make("a", { href: link(named(i)) }, named(i))),
    places.map((j, column) => {
      let shown = value(arm, i, j, matrix.measure), strength, kind = i === j ? "right" : "wrong";
      if (other) {
        shown -= value(other, i, j, matrix.measure);
        kind = shown > 0 === (i === j) ? "right" : "wrong";
        strength = Math.abs(shown) / most;
      } else strength = i === j ? 0.35 * (isPixels ? value(arm, i, j, "truth") : shown) ** 2 : shown / most;
      const alpha = Math.sqrt(Math.min(1, strength));
      const short = isPixels ? compact(shown, Boolean(other)) : Math.abs(shown) < 0.005 ? "" : other ? points(shown, 0) : percent(shown, 0);
      const frame = framing(rows, places, row, column);
      const cell = make("td", {
        class: `${kind}${i === j ? " diagonal" : ""}${alpha > 0.72 ? " full" : ""}${frame.edges}`, tabindex: -1,
        "aria-label": cellText(i, j), "data-i": i, "data-j": j, style: { "--a": alpha.toFixed(3), ...frame.style },
      }, short);
      cells.set(`${row},${column}`, cell);
      return cell;
    })));
  const table = make("table", {
    class: `matrix${isPixels ? " of-pixels" : ""}`, role: "grid", "aria-label": `confusion matrix of ${arm.name}`,
    style: { "--n": places.length, "--head": `${Math.min(22, 2 + Math.max(...places.map((j) => named(j).length)))}ch` },
  }, make("thead", {}, head), make("tbody", {}, body));
  cells.get("0,0").tabIndex = 0;
  const tell = (cell) => { byId("matrix-readout").textContent = cell.getAttribute("aria-label"); };
  const open = (cell) => go(link(named(+cell.dataset.i), ...(cell.dataset.i === cell.dataset.j ? [] : [named(+cell.dataset.j)])));
  table.addEventListener("mouseover", (event) => { const cell = event.target.closest("td[data-i]"); if (cell) tell(cell); });
  table.addEventListener("focusin", (event) => { const cell = event.target.closest("td[data-i]"); if (cell) tell(cell); });
  table.addEventListener("click", (event) => { const cell = event.target.closest("td[data-i]"); if (cell) open(cell); });
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td[data-i]");
    if (!cell) return;
    const [row, column] = [...cells].find(([, at]) => at === cell)[0].split(",").map(Number);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -column], End: [0, places.length - 1 - column] }[event.key];
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(cell); }
    const next = step && cells.get(`${row + step[0]},${column + step[1]}`);
    if (next) { event.preventDefault(); cell.tabIndex = -1; next.tabIndex = 0; next.focus(); }
  });
  byId("matrix").replaceChildren(table);
  byId("matrix-legend").replaceChildren(...matrixLegend(rows, places, arm, other, most));
}

// what the colours mean, and which strong confusions no frame holds
function matrixLegend(rows, places, arm, other, most) {
  const isPixels = matrix.measure === "pixels", unit = isPixels ? "" : other ? " points" : " %";
  const shown = (strength) => (isPixels ? compact(Math.round(strength)) : percent(strength, 0)) + unit;
  const square = (kind, part, text) => make("span", { class: "shade" }, make("i", { class: kind, style: { "--a": Math.sqrt(part).toFixed(3) } }), text);
  const scale = [0.05, 0.25, 0.5, 1].map((part) => square("wrong", part, shown(part * most)));
  const blank = isPixels ? "blank: none" : other ? "blank: a change of less than half a point" : "blank: none, or less than half a percent";
  const colours = make("p", { class: "legend" }, ...(other
    ? [make("span", {}, `worse than ${other.name}:`), ...scale, make("span", {}, "better:"), square("right", 0.25, shown(0.25 * most)), square("right", 1, shown(most))]
    : [make("span", {}, "confused:"), ...scale, square("right", 0.35, "right (on the diagonal)")]), make("span", {}, blank));
  if (!data.groups.length) return [colours];
  const outside = rows.flatMap((i) => places.map((j) => [i, j])).filter(([i, j]) =>
    i !== j && !data.groups.some((group) => group.includes(i) && group.includes(j)) && value(arm, i, j, "truth") >= 0.1)
    .sort((a, b) => value(arm, ...b, "truth") - value(arm, ...a, "truth"));
  const links = outside.slice(0, 3).map(([i, j]) => [make("a", { href: link(named(i), named(j)) }, `${named(i)} taken for ${named(j)}`), ` (${percent(value(arm, i, j, "truth"), 0)} %)`]);
  return [colours, make("p", { class: "term" }, ...(outside.length
    ? [`Outside every frame ${outside.length === 1 ? "is 1 confusion" : `are ${outside.length} confusions`} of 10 % of the truth or more${outside.length > 3 ? ", the strongest of them" : ""}: `, listed(links), "."]
    : ["No confusion of 10 % of the truth or more is outside every frame."]))];
}

function compact(count, signed) {
  if (!count) return "";
  const size = Math.abs(count), mark = count < 0 ? "\u2212" : signed ? "+" : "";
  if (size >= 9.95e5) return `${mark}${(size / 1e6).toFixed(size < 9.95e6 ? 1 : 0)}M`;
  return mark + (size >= 995 ? `${(size / 1e3).toFixed(size < 9950 ? 1 : 0)}k` : size);
}

// the outline of the cells of a group, whose members may stand apart
function framing(rows, places, row, column) {
  const i = rows[row], j = places[column];
  const both = (a, b) => data.groups.findIndex((group) => group.includes(a) && group.includes(b));
  const number = both(i, j);
  if (number < 0) return { edges: "", style: {} };
  const edge = { top: both(rows[row - 1], j), bottom: both(rows[row + 1], j), left: both(i, places[column - 1]), right: both(i, places[column + 1]) };
  const edges = Object.entries(edge).filter(([, at]) => at !== number).map(([name]) => ` f-${name}`).join("");
  return { edges: edges && ` framed${edges}`, style: edges ? { "--frame": `var(--g${number % 8})` } : {} };
}

function startMatrix() {
  const draw = (name, as) => (to) => { matrix[name] = as ? as(to) : to; drawMatrix(); };
  const names = arms.map((arm, n) => [String(n), arm.name]);
  byId("matrix-controls").replaceChildren(...[
    several && choice("Arm", names, "0", draw("arm", Number)),
    several && choice("against", [["-1", "nothing"], ...names], "-1", draw("against", Number)),
    choice("in", MEASURES, "truth", draw("measure")),
    data.groups.length > 0 && choice("ordered by", [["groups", "group"], ["list", "the list of classes"]], "groups", draw("order")),
    K > MANY && choice("Classes", [["costliest", `the ${MANY} that confusions cost most`], ["all", `all ${K}`]], "costliest", draw("which")),
  ].filter(Boolean));
  drawMatrix();
}

// ---- the graph of confusion

const narrow = window.matchMedia("(max-width: 560px)");

function startGraph() {
  if (!data.discoveries.length) return;
  const state = { of: 0, step: data.discoveries[0].automatic };
  const slider = make("input", { type: "range", min: 0, step: 1, "aria-label": "threshold", oninput: () => { state.step = +slider.value; draw(); } });
  const told = make("output", { class: "n" });
  const draw = () => {
    const found = data.discoveries[state.of], [threshold] = found.steps[state.step];
    slider.max = found.steps.length - 1;
    slider.value = state.step;
    const text = `${percent(threshold)} %${state.step === found.automatic ? " (the default, the mean of all confusions)" : ""}`;
    told.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    drawGraph(found, state.step);
  };
  narrow.addEventListener("change", draw);
  const sources = data.discoveries.map((found, n) => [String(n), found.name]);
  byId("graph-controls").replaceChildren(
    ...(sources.length > 1 ? [choice("Matrix of", sources, "0", (n) => { state.of = +n; state.step = data.discoveries[state.of].automatic; draw(); })] : []),
    make("label", { class: "slider" }, "Threshold ", slider), told,
    make("button", { type: "button", onclick: () => { state.step = data.discoveries[state.of].automatic; draw(); } }, "Reset"));
  draw();
}

function drawGraph(found, step) {
  const [threshold, groups] = found.steps[step];
  // letters of a narrow page are larger in its drawing
  const size = found.order.length, [R, letter] = narrow.matches ? [110, 8.6] : [150, 6.2], place = new Map(), inGroup = new Map();
  found.order.forEach((k, n) => {
    const turn = (2 * Math.PI * (n + 0.5)) / size - Math.PI / 2;
    place.set(k, { x: R * Math.cos(turn), y: R * Math.sin(turn), turn });
  });
  (groups || []).forEach((group, n) => group.forEach((k) => inGroup.set(k, n)));
  const color = (n) => (n === undefined ? "var(--soft)" : `var(--g${n % 8})`);
  const edges = found.edges.filter(([i, j, weight]) => weight > threshold && place.has(i) && place.has(j)).sort((a, b) => a[2] - b[2]);
  const lines = edges.map(([i, j, weight]) => {
    const a = place.get(i), b = place.get(j), near = inGroup.get(i) !== undefined && inGroup.get(i) === inGroup.get(j);
    const pull = 0.35, path = `M${a.x.toFixed(1)},${a.y.toFixed(1)}Q${((a.x + b.x) * pull / 2).toFixed(1)},${((a.y + b.y) * pull / 2).toFixed(1)} ${b.x.toFixed(1)},${b.y.toFixed(1)}`;
    const line = make("path", {
      d: path, fill: "none", stroke: near ? color(inGroup.get(i)) : "var(--soft)", "stroke-opacity": near ? 0.8 : 0.28,
      "stroke-width": Math.max(0.7, 40 * Math.min(weight, 0.3)).toFixed(1), class: "edge",
    }, make("title", {}, `${named(i)} and ${named(j)}: ${percent(weight)} %`));
    line.addEventListener("click", () => go(link(named(i), named(j))));
    return line;
  });
  const nodes = found.order.map((k) => {
    const { x, y, turn } = place.get(k), left = Math.cos(turn) < 0;
    const degrees = (turn * 180) / Math.PI + (left ? 180 : 0), at = R + 9;
    return make("g", { class: "node", onclick: () => go(link(named(k))) },
      make("circle", { cx: x, cy: y, r: 4.5, fill: color(inGroup.get(k)) }),
      make("text", {
        transform: `translate(${(at * Math.cos(turn)).toFixed(1)},${(at * Math.sin(turn)).toFixed(1)}) rotate(${degrees.toFixed(1)})`,
        "text-anchor": left ? "end" : "start", "dominant-baseline": "middle", style: { fill: color(inGroup.get(k)) },
      }, named(k)));
  });
  const reach = R + 14 + letter * Math.min(18, Math.max(...found.order.map((k) => named(k).length)));
  const said = groups === null ? "All classes are one group." : `${groups.length} groups.`;
  byId("graph").replaceChildren(make("svg", {
    viewBox: `${-reach} ${-reach} ${2 * reach} ${2 * reach}`, role: "img",
    "aria-label": `Graph of confusion in ${found.name} at a threshold of ${percent(threshold)} %: ${said} The groups are listed beside it.`,
  }, make("g", {}, lines), make("g", {}, nodes)));
  const alone = [...data.classes.keys()].filter((k) => !inGroup.has(k));
  byId("graph-groups").replaceChildren(
    ...(size < K ? [make("p", { class: "term" }, `Drawn are the ${size} of ${K} classes with the strongest confusions.`)] : []),
    ...(groups === null
      ? [make("p", {}, "At this threshold all classes are one group, which leaves none for \u201cothers\u201d: it is too low.")]
      : [make("ol", { class: "members" }, groups.map((group, n) => make("li", {}, badge(n), " ", listed(group.map(classLink))))),
        alone.length ? make("p", { class: "term" }, "In no group: ", listed(alone.map(classLink)), ".") : ""]),
    make("details", {}, make("summary", {}, `The ${Math.min(edges.length, 30)} strongest confusions as a table`),
      make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "classes"), make("th", { scope: "col", class: "n" }, "%"))),
        make("tbody", {}, [...edges].reverse().slice(0, 30).map(([i, j, weight]) =>
          make("tr", {}, make("td", {}, make("a", { href: link(named(i), named(j)) }, `${named(i)}, ${named(j)}`)), make("td", { class: "n" }, percent(weight))))))));
}

// ---- classes

const SCORES = [["iou", "IoU"], ["precision", "precision"], ["recall", "recall"]];

function startClasses() {
  const state = { score: "iou", sort: "score" };
  const TOLD = {
    iou: "IoU: of the pixels that label or prediction gives to the class, the share that both do.",
    precision: "Precision: of the pixels that were predicted as the class, the share that are of it.",
    recall: "Recall: of the class's pixels, the share that were found.",
  };
  const draw = () => {
    const first = arms[0][state.score], best = arms[data.best][state.score];
    const gain = (k) => (first[k] === null || best[k] === null ? null : best[k] - first[k]);
    const low = (v) => (v === null ? Infinity : v);
    const classes = [...data.classes.keys()].sort({
      gain: (a, b) => low(gain(a)) - low(gain(b)) || a - b,
      score: (a, b) => low(first[a]) - low(first[b]) || a - b,
      group: (a, b) => (groupOf[a] + data.groups.length + 1) % (data.groups.length + 1) - (groupOf[b] + data.groups.length + 1) % (data.groups.length + 1) || a - b,
      list: (a, b) => a - b,
    }[state.sort]);
    const row = (k) => make("tr", {},
      make("th", { scope: "row" }, make("a", { href: link(named(k)) }, named(k)), groupOf[k] >= 0 ? [" ", badge(groupOf[k])] : ""),
      make("td", { class: "track" }, track(arms.map((arm) => arm[state.score][k]))),
      arms.map((arm, n) => make("td", { class: `n ${column(n)}` }, percent(arm[state.score][k]))),
      several ? make("td", { class: "n" }, make("span", { class: sign(gain(k), true) }, gain(k) === null ? "-" : points(gain(k)))) : "");
    const rows = classes.map(row);
    byId("classes").replaceChildren(
      make("p", { class: "legend" }, TOLD[state.score] + " ", arms.map((arm, n) => make("span", {}, mark(n), ` ${arm.name} `))),
      make("table", { class: "dots" },
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "class"),
          make("td", { class: "track", "aria-hidden": true }, make("span", { class: "scale" }, make("span", {}, "0"), make("span", {}, "50"), make("span", {}, "100 %"))),
          arms.map((arm, n) => make("th", { scope: "col", class: `n ${column(n)}` }, arm.name)),
          several ? make("th", { scope: "col", class: "n", title: `${arms[data.best].name} against ${arms[0].name}` }, "gain, points") : "")),
        make("tbody", {}, rows)),
      shorten(rows, `all ${K} classes`, MANY));
  };
  const set = (name) => (to) => { state[name] = to; draw(); };
  byId("classes-controls").replaceChildren(
    choice("Show", SCORES, "iou", set("score")),
    choice("sorted by", [["score", "score, the lowest first"], ...(several ? [["gain", "gain, the worst first"]] : []), ["group", "group"], ["list", "the list of classes"]], state.sort, set("sort")));
  draw();
}

// columns that narrow pages leave out, and narrower ones
const column = (n) => (n === 0 ? "" : n === data.best ? "narrow-no" : "more");
const shade = (n) => (n === 0 ? "var(--first)" : n === data.best ? "var(--best)" : "var(--other)");
function mark(n) {
  return make("svg", { viewBox: "-6 -6 12 12", class: "mark", "aria-hidden": true }, dot(0, 0, n));
}
function dot(x, y, n) {
  return n === 0
    ? make("circle", { cx: x, cy: y, r: 3.6, fill: "var(--paper)", stroke: shade(n), "stroke-width": 1.8 })
    : make("circle", { cx: x, cy: y, r: n === data.best ? 4.2 : 2.6, fill: shade(n) });
}
function track(values) {
  const at = (v) => 5 + 190 * v, line = [];
  if (values[0] !== null && values[data.best] !== null) {
    line.push(make("line", { x1: at(values[0]), x2: at(values[data.best]), y1: 9, y2: 9, stroke: "var(--best)", "stroke-width": 1.6 }));
  }
  const others = values.map((v, n) => (v === null ? "" : dot(at(v), 9, n)));
  return make("svg", { viewBox: "0 0 200 18", "aria-hidden": true },
    [0, 0.25, 0.5, 0.75, 1].map((v) => make("line", { x1: at(v), x2: at(v), y1: 0, y2: 18, stroke: "var(--line)" })), line, others);
}

// ---- images

function startImages() {
  const box = byId("images"), best = data.best, state = { sort: "cost" };
  if (!box) return;
  const grew = ({ wrong }) => (wrong[best] === null ? 0 : wrong[best] - wrong[0]);
  const number = (count) => (count === null ? "-" : whole(count));
  const draw = () => {
    const images = [...data.images].sort(state.sort === "cost" ? (a, b) => b.lost[0] - a.lost[0] || a.image - b.image : (a, b) => grew(b) - grew(a) || a.image - b.image);
    const rows = images.map((one) => make("tr", {},
      make("td", {}, make("a", { href: imageLink(one.image) }, data.names[one.image])),
      make("td", { class: "n" }, percent(one.lost[0])),
      several ? make("td", { class: "n" }, percent(one.lost[best])) : "",
      make("td", { class: "n" }, number(one.wrong[0])),
      several ? [make("td", { class: "n" }, number(one.wrong[best])),
        make("td", { class: "n" }, one.wrong[best] === null ? "-" : make("span", { class: sign(grew(one), false) }, (grew(one) > 0 ? "+" : "") + whole(grew(one)).replace("-", "\u2212")))] : "",
      make("td", {}, one.pairs.map(([i, j], n) => make("span", { class: n ? "further" : "" }, n ? "; " : "", make("a", { href: link(named(i), named(j)) }, `${named(i)} \u2192 ${named(j)}`))))));
    const name = several ? [arms[0].name, arms[best].name] : [""], heads = (texts) => texts.map((text) => make("th", { scope: "col", class: "n" }, text));
    const by = make("th", { scope: "col", rowspan: several ? 2 : null }, "mostly by (truth \u2192 predicted), ", several ? `with ${arms[0].name}` : "by cost");
    const over = (text, span) => make("th", { scope: "colgroup", colspan: span, class: "over" }, text);
    const left = data.numImages - data.images.length;
    box.replaceChildren(
      make("table", {}, make("thead", {}, several
        ? [make("tr", {}, make("th", { scope: "col", rowspan: 2 }, "image"), over("costs, points", 2), over("wrong pixels", 3), by), make("tr", {}, heads([...name, ...name, "change"]))]
        : make("tr", {}, make("th", { scope: "col" }, "image"), heads(["costs, points", "wrong pixels"]), by)), make("tbody", {}, rows)),
      shorten(rows, `${images.length} images`),
      left > 0 ? make("p", { class: "term" }, `The other ${whole(left)} of ${whole(data.numImages)} images cost less, or nothing.`) : "");
  };
  if (several) {
    byId("images-controls").replaceChildren(choice("Sorted by",
      [["cost", `what they cost ${arms[0].name}`], ["grew", `wrong pixels that ${arms[best].name} has more`]], state.sort, (to) => { state.sort = to; draw(); }));
  }
  draw();
}

// ---- training curves

function startCurves() {
  const box = byId("curves");
  if (!box) return;
  box.replaceChildren(...data.phases.map((phase) => {
    const W = 300, left = 34, right = 8, H = 118, n = phase.epochs.length;
    const names = Object.keys(phase.losses), all = names.flatMap((name) => phase.losses[name]).filter((v) => v !== null);
    const most = Math.max(...all, 1e-9) * 1.05, x = (e) => left + ((W - left - right) * (n > 1 ? (e - 1) / (n - 1) : 0.5));
    const y = (v) => H - 16 - ((H - 26) * v) / most;
    const inks = ["var(--g0)", "var(--g1)", "var(--g2)", "var(--g3)", "var(--g4)", "var(--g5)", "var(--g6)", "var(--g7)"];
    const ticks = [0, most / 2.1, most / 1.05];
    const plot = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `loss by epoch, ${phase.name}; the numbers are in the table below` },
      ticks.map((v) => [make("line", { x1: left, x2: W - right, y1: y(v), y2: y(v), stroke: "var(--line)" }),
        make("text", { x: left - 5, y: y(v), "text-anchor": "end", "dominant-baseline": "middle" }, v ? v.toPrecision(2) : "0")]),
      names.map((name, c) => {
        const known = phase.epochs.filter((_, e) => phase.losses[name][e] !== null);
        const dots = known.map((e) => `${x(e).toFixed(1)},${y(phase.losses[name][e - 1]).toFixed(1)}`);
        return [make("polyline", { points: dots.join(" "), fill: "none", stroke: inks[c % 8], "stroke-width": 1.6 }),
          known.length < 40 ? known.map((e) => make("circle", { cx: x(e), cy: y(phase.losses[name][e - 1]), r: 1.8, fill: inks[c % 8] })) : ""];
      }),
      make("text", { x: left, y: H - 3 }, "1"), make("text", { x: W - right, y: H - 3, "text-anchor": "end" }, `epoch ${n}`));
    const scored = phase.epochs.filter((_, e) => phase.val[e] !== null && phase.val[e] !== undefined);
    const top = Math.max(...scored.map((e) => phase.val[e - 1]), 0), low = Math.min(...scored.map((e) => phase.val[e - 1]), top);
    const h = (v) => 44 - (top > low ? (24 * (v - low)) / (top - low) : 12);
    const val = scored.length ? make("svg", { viewBox: `0 0 ${W} 54`, role: "img", "aria-label": `validation mIoU, ${phase.name}: ${scored.map((e) => `${percent(phase.val[e - 1])} % after epoch ${e}`).join(", ")}` },
      make("polyline", { points: scored.map((e) => `${x(e).toFixed(1)},${h(phase.val[e - 1]).toFixed(1)}`).join(" "), fill: "none", stroke: "var(--best)", "stroke-width": 1.6 }),
      scored.map((e, s) => [make("circle", { cx: x(e), cy: h(phase.val[e - 1]), r: 2.4, fill: "var(--best)" }),
        s === scored.length - 1 || (s === 0 && scored.length > 2)
          ? make("text", { x: x(e) + (s ? -6 : 0), y: h(phase.val[e - 1]) - 6, "text-anchor": x(e) < 80 ? "start" : "end" }, `${percent(phase.val[e - 1], 1)} %`) : ""])) : "";
    const shown = (v) => (v === null || v === undefined ? "" : v.toPrecision(4));
    return make("figure", {}, make("figcaption", {}, phase.name),
      make("p", { class: "legend" }, "loss", names.length > 1 ? [": ", names.map((name, c) => make("span", {}, make("i", { style: { background: inks[c % 8] } }), name))] : ""),
      plot, scored.length ? make("p", { class: "legend" }, "validation mIoU") : "", val,
      make("details", {}, make("summary", {}, "Numbers"),
        make("table", {}, make("thead", {}, make("tr", {}, ["epoch", ...names, "val mIoU, %"].map((name) => make("th", { scope: "col", class: "n" }, name)))),
          make("tbody", {}, phase.epochs.map((e) => make("tr", {}, make("td", { class: "n" }, String(e)),
            names.map((name) => make("td", { class: "n" }, shown(phase.losses[name][e - 1]))),
            make("td", { class: "n" }, phase.val[e - 1] === null || phase.val[e - 1] === undefined ? "" : percent(phase.val[e - 1]))))))));
  }));
}

// ---- crops

const decoded = new Map();

async function classesOf(crop, text) {
  if (!decoded.has(text)) {
    const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    decoded.set(text, new Response(stream).arrayBuffer().then((buffer) => {
      const ids = new Uint8Array(buffer), width = crop.size[1];
      for (let n = width; n < ids.length; n++) ids[n] ^= ids[n - width];
      return ids;
    }));
  }
  return decoded.get(text);
}

// which pixels a view marks: 1 the confusion itself, 2 what is else wrong
function marker(what) {
  return (t, p) => {
    if (t >= K) return 0;
    const taken = p >= K ? K : p;
    if (t === taken) return 0;
    if (what.pair) return t === what.pair[0] && taken === what.pair[1] ? 1 : 2;
    if (what.klass !== undefined) return t === what.klass || taken === what.klass ? 1 : 2;
    return 1;
  };
}

const MARK = [214, 0, 110], ELSE = [240, 160, 90], NOTHING = [0, 0, 0, 0];

function paint(canvas, crop, color) {
  const [height, width] = crop.size, context = canvas.getContext("2d"), picture = context.createImageData(width, height);
  canvas.width = width;
  canvas.height = height;
  for (let n = 0; n < width * height; n++) {
    const [r, g, b, a = 255] = color(n, n % width, Math.floor(n / width));
    picture.data.set([r, g, b, a], 4 * n);
  }
  context.putImageData(picture, 0, 0);
}

const striped = (x, y) => ((x + y) >> 2) % 2 ? [120, 124, 130] : [96, 100, 106];

function tile(title, node) {
  return make("figure", { class: "tile" }, node, make("figcaption", {}, title));
}

// a crop with everything about it; fills itself when its classes are unpacked
function cropFigure(number, what, only = null) {
  const crop = data.crops[number], [height, width] = crop.size, [top, left, bottom, right, step] = crop.box;
  const wrong = (n) => sum(crop.confusions[n].map(([, , pixels]) => pixels));
  const count = (n) => sum(crop.confusions[n].filter(([i, j]) => marker(what)(i, j) === 1).map(([, , pixels]) => pixels));
  const told = step > 1 ? `, every ${step === 2 ? "second" : step + "th"} pixel` : "";
  const canvas = (label, extra = {}) => make("canvas", { width, height, role: "img", "aria-label": label, ...extra });
  const marked = what.pair ? `${named(what.pair[0])} taken for ${named(what.pair[1])}` : what.klass === undefined ? "wrong pixels" : `${named(what.klass)} missed, or predicted wrongly`;
  const truth = canvas("the label's classes"), outline = canvas(`${marked}, outlined`);
  const photo = make("div", { class: "photo", style: { "aspect-ratio": `${width} / ${height}` } },
    crop.photograph ? make("img", { src: `data:image/jpeg;base64,${crop.photograph}`, alt: `part of the photograph ${data.names[crop.image]}`, width, height }) : "", outline);
  const shown = data.cropArms.map((arm, n) => ({ arm, n, known: crop.predictions[n] !== null })).filter(({ arm }) => !only || only.includes(arm));
  const predicted = {}, errors = {};
  shown.filter(({ known }) => known).forEach(({ arm, n }) => {
    predicted[n] = canvas(`what ${arms[arm].name} predicts`);
    errors[n] = canvas(`errors of ${arms[arm].name}; marked: ${marked}`, { class: "errors", "data-arm": arm, "data-crop": number, "data-pixels": count(n), "data-wrong": wrong(n) });
  });
  // the outline is the first arm's, or, where that has none, the next one's that has some; its caption says whose
  const outlined = (shown.find(({ n, known }) => known && count(n)) || shown[0]).n;
  const isPart = what.pair || what.klass !== undefined;
  const caption = (n) => [make("b", { class: "n" }, `${whole(count(n))} px`), isPart ? ` (of ${whole(wrong(n))} wrong)` : ""];
  const columnsOf = shown.map(({ arm, n, known }) => make("div", { class: "column" },
    make("p", { class: "arm" }, several ? arms[arm].name : "prediction"),
    known ? [tile("prediction", predicted[n]), tile(["errors", isPart ? `; ${marked}: ` : ": ", caption(n)], errors[n])] : make("p", { class: "term" }, "Its predictions were not kept.")));
  const rgb = (color) => `rgb(${color.join(" ")})`, ink = (color, text) => make("span", {}, make("i", { style: { background: rgb(color) } }), text);
  const legend = make("p", { class: "legend" }, ink(MARK, marked), isPart ? ink(ELSE, "other errors") : "",
    crop.values.includes(255) ? make("span", {}, make("i", { class: "striped" }), data.noClass ? "no label, or no class predicted" : "no label") : "",
    crop.values.filter((k) => k < K).map((k) => ink(data.colors[k], classLink(k))));
  const larger = make("button", { type: "button", class: "plain", "aria-pressed": "false", onclick: () => {
    larger.setAttribute("aria-pressed", String(tiles.classList.toggle("large")));
    larger.textContent = tiles.classList.contains("large") ? "smaller" : "larger";
  } }, "larger");
  // a picture is a larger target than the button, which is there for keys
  const tiles = make("div", { class: "tiles", style: { "--columns": 1 + shown.length }, onclick: (event) => { if (event.target.closest("canvas, img")) larger.click(); } },
      make("div", { class: "column" }, make("p", { class: "arm" }, "image"),
        tile([crop.photograph ? "photograph" : "no photograph", count(outlined) ? `; outlined: ${several ? `errors of ${arms[data.cropArms[outlined]].name}` : "errors"}` : ""], photo), tile("truth", truth)), columnsOf);
  const figure = make("section", { class: "crop", "data-crop": number },
    make("p", { class: "place" }, make("a", { href: imageLink(crop.image) }, data.names[crop.image]),
      make("span", { class: "soft" }, ` rows ${top}\u2013${bottom}, columns ${left}\u2013${right}${told} `), larger),
    tiles, legend);
  const fill = async () => {
    const ids = await classesOf(crop, crop.truth);
    const answers = await Promise.all(crop.predictions.map((text) => (text === null ? null : classesOf(crop, text))));
    const paintOf = (values) => (n, x, y) => (values[n] < K ? data.colors[values[n]] : striped(x, y));
    const mark = marker(what);
    paint(truth, crop, paintOf(ids));
    answers.forEach((answer, n) => {
      if (!predicted[n]) return;
      let pixels = 0;
      paint(predicted[n], crop, paintOf(answer));
      paint(errors[n], crop, (at, x, y) => {
        if (ids[at] >= K) return striped(x, y);
        const kind = mark(ids[at], answer[at]);
        pixels += kind === 1;
        return kind === 1 ? MARK : kind === 2 ? ELSE : NOTHING;
      });
      errors[n].dataset.marked = pixels;
    });
    const of = answers[outlined];
    const isMarked = (x, y) => x >= 0 && y >= 0 && x < width && y < height && of && mark(ids[y * width + x], of[y * width + x]) === 1;
    paint(outline, crop, (at, x, y) => {
      if (isMarked(x, y)) {
        const edge = !isMarked(x - 1, y) || !isMarked(x + 1, y) || !isMarked(x, y - 1) || !isMarked(x, y + 1);
        return [...MARK, edge ? 255 : crop.photograph ? 60 : 160];
      }
      return NOTHING;
    });
    figure.dataset.ready = "yes";
  };
  fill().catch((error) => { legend.textContent = `This crop can't be shown here: ${error.message}`; });
  return figure;
}

// those with the pixels in question, first where there are many of them and not much else
function cropsWith(test) {
  const found = [];
  data.crops.forEach((crop, number) => {
    const pixels = Math.max(...crop.confusions.map((of) => sum(of.filter(test).map(([, , count]) => count))));
    if (pixels > 0) found.push([number, pixels / Math.hypot(crop.box[2] - crop.box[0], crop.box[3] - crop.box[1])]);
  });
  return found.sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([number]) => number);
}

function cropList(numbers, what, told, atOnce = 3) {
  if (!data.crops.length) return [make("p", { class: "term" }, "This page holds no pictures.")];
  if (!numbers.length) return [make("p", { class: "term" }, told.none)];
  const box = make("div", { class: "crops" }), shown = [];
  const more = make("button", { type: "button" }, "Show more");
  const add = () => {
    for (const number of numbers.slice(shown.length, shown.length + atOnce)) {
      box.append(cropFigure(number, what));
      shown.push(number);
    }
    more.textContent = `Show more (${numbers.length - shown.length})`;
    more.hidden = shown.length >= numbers.length;
  };
  more.addEventListener("click", add);
  add();
  return [make("p", { class: "term" }, told.some), box, more];
}

// ---- views of a pair, a class, an image

let before = null;

function head(title, kind, links) {
  return make("div", { class: "viewhead" },
    make("button", { type: "button", class: "back", onclick: close }, "\u2190 Report"),
    make("p", { class: "kind" }, kind), make("h1", { id: "view-title", tabindex: -1 }, title),
    make("p", { class: "links" }, links));
}

// over: of a table whose columns after the first stand in groups, [[what a group is, how many columns], ...]
function armTable(rows, heads, what = null, over = []) {
  const body = rows.map((row) => make("tr", {}, row.map((cell, n) => make(n ? "td" : "th", { class: n ? "n" : "", scope: n ? null : "row" }, cell))));
  return make("div", {}, make("div", { class: "wide" }, make("table", {},
    make("thead", {}, over.length ? make("tr", {}, make("td"), over.map(([text, span]) => make("th", { scope: "colgroup", colspan: span, class: "over" }, text))) : "",
      make("tr", {}, heads.map((name, n) => make("th", { scope: "col", class: n ? "n" : "" }, name)))), make("tbody", {}, body))),
    what ? shorten(body, what, 8) : "");
}

function sections(list) {
  return (list || []).map(([title, text]) => make("section", { class: "told" }, make("h2", {}, title), text.map((sentence) => make("p", {}, prose(sentence)))));
}

function pairView(i, j) {
  const key = `${i}/${j}`, place = data.worst.findIndex(([a, b]) => a === i && b === j);
  const other = (step, word) => {
    const at = data.worst[place + step];
    return place >= 0 && at ? make("a", { href: link(named(at[0]), named(at[1])), rel: step > 0 ? "next" : "prev" }, `${word}: ${named(at[0])} taken for ${named(at[1])}`) : "";
  };
  const links = [
    j < K ? make("a", { href: link(named(j), named(i)) }, `the other way round: ${named(j)} taken for ${named(i)}`) : "",
    make("a", { href: link(named(i)) }, named(i)), j < K ? make("a", { href: link(named(j)) }, named(j)) : "",
    other(-1, "the next costlier"), other(1, "the next less costly"),
  ];
  const first = value(arms[0], i, j, "truth");
  const rows = arms.map((arm, n) => {
    const share = value(arm, i, j, "truth");
    return [arm.name, percent(arm.costs[i][j] / 1e6), whole(arm.counts[i][j]), percent(share), n ? make("span", { class: sign(share - first, false) }, points(share - first)) : "", percent(value(arm, i, j, "prediction"))];
  });
  const heads = ["arm", "costs, points", "pixels", `% of ${named(i)}`, "change, points", `% of all predicted ${named(j)}`];
  const skip = several ? -1 : 4;
  const list = data.imagesOf[key], crops = cropsWith(([a, b]) => a === i && b === j);
  const pictured = new Set(crops.map((number) => data.crops[number].image)).size;
  const inArms = list && several ? ` (${arms.map((arm, n) => `${list.of[n] === null ? "not known" : whole(list.of[n])} with ${arm.name}`).join("; ")})` : "";
  const of = list ? `the ${whole(list.any)} images${several ? " that have this confusion in any arm" : " with this confusion"}${inArms}` : "the images with this confusion";
  const having = list ? list.listed.map(([image, pixels]) => [make("a", { href: imageLink(image) }, data.names[image]), ...pixels.map((p) => (p === null ? "-" : whole(p)))]) : [];
  const images = having.length ? armTable(having, ["image", ...arms.map((arm) => arm.name)]) : "";
  return [head(`${named(i)} taken for ${named(j)}`, "a confusion", links),
    armTable(rows.map((row) => row.filter((_, n) => n !== skip)), heads.filter((_, n) => n !== skip)),
    make("div", { class: "beside" },
      make("div", {}, make("h2", {}, "Where it is"),
        cropList(crops, { pair: [i, j] }, {
          some: `This page has ${crops.length} crops of ${pictured} of ${of}, those where it fills most first. They are not typical.`,
          none: list && list.any ? `The crops that fit this page show none of ${of}.` : "No pixel of it is in the crops of this page.",
        }),
        images && make("details", {}, make("summary", {}, having.length < list.any ? `The ${having.length} images with most of it, of ${whole(list.any)}, in pixels` : `The ${having.length} images with it, in pixels`), images)),
      make("aside", {}, sections(data.explained[key]),
        data.explained[key] ? "" : make("p", { class: "term" }, "It is not among the costliest confusions, so this page says no more of it; ", make("code", {}, "confseg explain"), " does.")))];
}

function classView(k) {
  const name = named(k), first = arms[0], best = arms[data.best], shownArms = several ? [first, best] : [first];
  const gain = (arm) => (arm === first || arm.iou[k] === null || first.iou[k] === null ? "" : make("span", { class: sign(arm.iou[k] - first.iou[k], true) }, points(arm.iou[k] - first.iou[k])));
  const rows = arms.map((arm) => [arm.name, percent(arm.iou[k]), ...(several ? [gain(arm)] : []), percent(arm.recall[k]), percent(arm.precision[k]), whole(arm.rows[k]), whole(arm.ofColumn[k])]);
  // by what they cost the first arm or the best, whichever is more: none that is new is missed
  const most = ([i, j]) => Math.max(...shownArms.map((arm) => arm.costs[i][j]));
  const both = shownArms.map((arm) => arm.name);
  const [heads, over] = several ? [["class", ...both, "change", ...both], [["costs, points", 3], ["% of the truth", 2]]] : [["class", "costs, points", "% of the truth", "pixels"], []];
  const table = (title, all, other) => {
    const pairs = all.filter(([i, j]) => i !== j && shownArms.some((arm) => arm.counts[i][j])).sort((a, b) => most(b) - most(a));
    const change = ([i, j]) => best.costs[i][j] - first.costs[i][j];
    const cells = (at) => [make("a", { href: link(named(at[0]), named(at[1])) }, named(at[other])), ...shownArms.map((arm) => percent(arm.costs[at[0]][at[1]] / 1e6)),
      ...(several ? [make("span", { class: sign(change(at) / 1e6, false) }, points(change(at) / 1e6))] : []),
      ...shownArms.map((arm) => percent(value(arm, ...at, "truth"))), ...(several ? [] : [whole(first.counts[at[0]][at[1]])])];
    return make("div", {}, make("h2", {}, title), pairs.length
      ? armTable(pairs.map(cells), heads, `all ${pairs.length}`, over)
      : make("p", {}, "Nothing."));
  };
  const crops = cropsWith(([a, b]) => a === k || b === k), images = data.imagesOfClasses[k] || [];
  return [head(name, "a class", groupOf[k] >= 0 ? [badge(groupOf[k]), make("span", {}, `group ${groupOf[k] + 1}: `, listed(data.groups[groupOf[k]].map(classLink)))] : ["in no group"]),
    armTable(rows, ["arm", "IoU, %", ...(several ? ["gain, points"] : []), "recall, %", "precision, %", "pixels in the labels", `pixels predicted ${name}`]),
    make("div", { class: "columns" },
      table(`What ${name} is taken for`, columns.map((j) => [k, j]), 1),
      table(`What is taken for ${name}`, data.classes.map((_, i) => [i, k]), 0)),
    make("div", { class: "beside" },
      make("div", {}, make("h2", {}, "Where it is confused"),
        cropList(crops, { klass: k }, { some: `Crops in which most is wrong with it first. Marked are its pixels that were missed, and those of other classes that were predicted ${name}.`, none: "No confusion of it is in the crops of this page." })),
      make("aside", {}, images.length ? make("section", { class: "told" }, make("h2", {}, "Images that cost it most"),
        make("p", {}, `IoU, in points, that ${name} would gain if one image alone had no mistake${several ? `; in order of ${first.name}` : ""}.`),
        armTable(images.map(([image, lost]) => [make("a", { href: imageLink(image) }, data.names[image]), ...shownArms.map((_, n) => (lost[n] === null ? "-" : percent(lost[n])))]), ["image", ...(several ? shownArms.map((arm) => arm.name) : ["points"])], `${images.length} images`)) : ""))];
}

function imageView(image) {
  const about = data.images.find((one) => one.image === image);
  const crops = data.crops.map((crop, number) => [crop, number]).filter(([crop]) => crop.image === image)
    .sort(([a], [b]) => b.size[0] * b.box[4] * b.size[1] * b.box[4] - a.size[0] * a.box[4] * a.size[1] * a.box[4]).map(([, number]) => number);
  return [head(data.names[image], "an image", []),
    ...(about ? [armTable(arms.map((arm, n) => [arm.name, about.lost[n] === null ? "-" : percent(about.lost[n]), about.wrong[n] === null ? "-" : whole(about.wrong[n])]), ["arm", "costs, points of mIoU", "wrong pixels"]),
      about.pairs.length ? make("p", {}, `What costs ${several ? `${arms[0].name} ` : ""}most here: `, listed(about.pairs.map(([i, j, pixels, cost]) => [make("a", { href: link(named(i), named(j)) }, `${named(i)} taken for ${named(j)}`), ` (${percent(cost)} points, ${whole(pixels)} pixels)`])),
        ". A confusion's points are shared out among images by its pixels.") : ""]
      : [make("p", { class: "term" }, "It is not among the images that cost most.")]),
    ...cropList(crops, {}, { some: "Its crops, largest area first; marked is all that is wrong.", none: "Its pictures are not in this page: it holds those of the images that show most." })];
}

// ---- addresses: #truth/prediction, #class, #/image

// the view that an address names; null for the report itself, undefined for what has no such name
function parse(hash) {
  const text = hash.slice(1);
  let parts;
  if (!text || (text.startsWith("section-") && byId(text))) return null;
  try { parts = text.split("/").map(decodeURIComponent); } catch { return undefined; }
  if (parts[0] === "" && parts.length === 2) {
    const image = Object.keys(data.names).find((index) => data.names[index] === parts[1]);
    return image === undefined ? undefined : () => imageView(+image);
  }
  const found = parts.map((name) => (name === NO_CLASS && data.noClass ? K : data.classes.indexOf(name)));
  if (found.includes(-1) || found.length > 2 || found[0] === K) return undefined;
  if (found.length === 1 || found[0] === found[1]) return () => classView(found[0]);
  return () => pairView(...found);
}

function readable(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function go(hash) {
  location.hash = hash;
}

function show() {
  const view = parse(location.hash), box = byId("view"), main = byId("section-top"), notice = byId("notice");
  notice.hidden = view !== undefined;
  notice.textContent = view === undefined ? `The link #${readable(location.hash.slice(1))} leads to nothing: no class, confusion or image that this page shows has this name.` : "";
  if (!view) {
    if (box.hidden) return;
    box.hidden = true;
    main.hidden = false;
    document.body.classList.remove("viewing");
    box.replaceChildren();
    if (view === undefined) window.scrollTo(0, 0);
    else if (before) {
      const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
      if (target) target.scrollIntoView();
      else window.scrollTo(0, before.scroll);
      if (before.focus && before.focus.isConnected) before.focus.focus({ preventScroll: true });
    }
    before = null;
    return;
  }
  before = before || { scroll: window.scrollY, focus: document.activeElement };
  box.replaceChildren(...view());
  box.hidden = false;
  main.hidden = true;
  document.body.classList.add("viewing");
  window.scrollTo(0, 0);
  byId("view-title").focus({ preventScroll: true });
}

function close() {
  try { history.pushState(null, "", location.href.split("#")[0]); } catch { location.hash = "#section-top"; }
  show();
}

// ---- colours

const THEMES = { "": "Auto", light: "Light", dark: "Dark" };
const TOLD = { "": "colours: as the system has them", light: "colours: light", dark: "colours: dark" };

function theme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = THEMES[name];
  byId("theme").setAttribute("aria-label", TOLD[name]);
  try { localStorage.setItem("confseg-theme", name); } catch { /* a page from a disk may not store anything */ }
}

function startTheme() {
  let kept = "";
  try { kept = localStorage.getItem("confseg-theme") || ""; } catch { kept = ""; }
  theme(kept in THEMES ? kept : "");
  byId("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    theme(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
  });
}

function startLead() {
  const box = byId("lead-crop");
  if (!box) return;
  const [i, j] = box.dataset.pair.split("/").map(Number), crops = cropsWith(([a, b]) => a === i && b === j);
  if (!crops.length) return;
  // few arms, so that they are large: the first, the best, and the one with least of it
  const least = data.cropArms.reduce((best, n) => (value(arms[n], i, j, "truth") < value(arms[best], i, j, "truth") ? n : best), 0);
  const figure = cropFigure(crops[0], { pair: [i, j] }, [0, data.best, least]);
  figure.classList.add("small");
  box.replaceChildren(figure, make("p", { class: "term" }, `Of ${crops.length} crops with this confusion, it fills this one most; the images that are named have most of it in all.`));
}

// which arm the list of worst pairs is in order of; without a script all lists stand one below the other
function startWorst() {
  const lists = [...document.querySelectorAll(".listed")];
  const choose = (name) => lists.forEach((list) => { list.hidden = list.dataset.arm !== name; list.querySelector("h3").hidden = true; });
  lists.forEach((list) => list.append(shorten([...list.querySelectorAll("tbody tr")], `all ${list.querySelectorAll("tbody tr").length} confusions`)));
  if (lists.length > 1) {
    byId("worst-controls").append(choice("In order of what they cost", lists.map(({ dataset }) => [dataset.arm, dataset.arm]), lists[0].dataset.arm, choose));
    choose(lists[0].dataset.arm);
  }
  document.addEventListener("click", (event) => {
    const meter = event.target.closest(".pairs td.meter");
    if (meter) meter.closest("tr").querySelector("a").click();
  });
  document.querySelectorAll(".prose").forEach((text) => text.replaceChildren(...prose(text.textContent)));
}

startTheme();
startLead();
startWorst();
startMatrix();
startGraph();
startClasses();
startImages();
startCurves();
window.addEventListener("hashchange", show);
window.addEventListener("popstate", show);
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !byId("view").hidden) close(); });
show();
document.documentElement.dataset.ready = "yes";
})();
