// The charts that answer the pointer: targets, or panels of a figure, side by side, with one legend,
// by uPlot. The page is whole without this: pictures and tables say the same.
"use strict";
const answer = (section, part) => {
  const {views, methods} = JSON.parse(section.querySelector("script").textContent);
  const [choice, charts, body, position] =
    [".views", ".charts", ".legend tbody", ".position"].map((name) => section.querySelector(name));
  const placesOfCharts = section.querySelectorAll(".legend .place");
  const hidden = new Set();
  let view = views[0], plots = [];

  const make = (tag, options = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), options);
    element.append(...children);
    return element;
  };
  const number = (value) => {
    if (value == null) return "–";
    const size = Math.abs(value);
    if (view.exact && size >= 1e5) return value.toLocaleString("en").replace("-", "−");
    if (view.exact && size > 0 && size < 0.1) return String(value).replaceAll("-", "−");
    const text = value.toFixed(size >= 100 ? 1 : 2);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  };
  const words = ({lines}, method, index) => {  // the median, and what comes behind it
    if (!lines[method]) return ["", ""];
    const {median, low, high} = lines[method], [middle, from, to] =
      [median, low ?? median, high ?? median].map((values) => number(values[index]));
    return [middle, from === to ? "" : ` (${from} to ${to})`];
  };

  // --- the legend: a row for each method, with its value at the pointer in each target ------------

  const rows = methods.map(({name, color, dash}) => {
    const box = make("input", {type: "checkbox", checked: true});
    const swatch = make("span");
    swatch.innerHTML = `<svg width="30" height="12" aria-hidden="true"><line x1="2" x2="28" y1="6"
      y2="6" stroke="${color}" stroke-width="2.5" stroke-dasharray="${dash.join(" ")}"/></svg>`;
    const head = make("th", {scope: "row"}, make("label", {}, box, swatch, name));
    const row = make("tr", {}, head, ...view.charts.map(() => make("td")));
    box.addEventListener("change", () => {
      box.checked ? hidden.delete(name) : hidden.add(name);
      row.classList.toggle("off", !box.checked);
      plots.forEach(({plot, names}) =>
        names.includes(name) && plot.setSeries(names.indexOf(name) + 1, {show: box.checked}));
      plots.forEach(({index}, target) => tell(target, index));
    });
    return row;
  });
  body.append(...rows);

  const placeOf = ({across, ticks}, index) => {  // with the figure's own name for it, if it has one
    const value = across[index], label = ticks?.across.find(([tick]) => tick === value)?.[1];
    const told = Number(label?.replaceAll(",", "").replace("−", "-"));
    const isNamed = label && !(Math.abs(told - value) <= 0.05 * Math.abs(value));
    const place = isNamed ? label : value.toLocaleString("en", {maximumSignificantDigits: 6});
    const unit = place === "1" ? view.across.replace(/s$/, "") : view.across;
    if (!view.exact) return `after ${place} ${unit}`;
    return view.across ? `${view.across}: ${place}` : place;
  };
  const tell = (target, index) => {
    const chart = view.charts[target];
    rows.forEach((row, at) => {
      const [median, textContent] = words(chart, methods[at].name, index);
      row.cells[target + 1].replaceChildren(median, make("span", {className: "more", textContent}));
      row.hidden = view.charts.every(({lines}) => !lines[methods[at].name]);
    });
    plots[target].index = index;
    const places = plots.map(({chart, index}) => placeOf(chart, index));
    const isShared = places.every((place) => place === places[0]);
    position.textContent = isShared ? places[0] : "";
    placesOfCharts.forEach((span, at) => { span.textContent = isShared ? "" : places[at]; });
    const shown = Object.keys(chart.lines).filter((name) => !hidden.has(name));
    const slider = plots[target].slider;
    slider.setAttribute("aria-valuenow", chart.across[index]);
    slider.setAttribute("aria-valuetext", `${places[target]}: ` +
      shown.map((name) => `${name} ${words(chart, name, index)[0]}`).join("; "));
  };

  // --- the charts ---------------------------------------------------------------------------------

  const nearest = (across, value) =>
    across.reduce((best, x, at) => Math.abs(x - value) < Math.abs(across[best] - value) ? at : best, 0);
  const point = (value) => plots.forEach(({plot, chart}) => {
    const index = nearest(chart.across, value);
    plot.setCursor({left: plot.valToPos(chart.across[index], "x"), top: plot.bbox.height / 2});
  });
  const resting = ({across}) => nearest(across, view.rest ?? across.at(-1));
  const rest = () => view.charts.forEach((chart, target) => tell(target, resting(chart)));

  const frame = (chart) => {
    const slider = make("div", {className: "chart", tabIndex: 0, role: "slider"},
                        make("b", {textContent: chart.heading ?? chart.target}));
    const name = chart.heading ?? `${view.title}, ${chart.target}`;
    slider.setAttribute("aria-label", view.across ? `${name}: ${view.across}` : name);
    slider.setAttribute("aria-valuemin", chart.across[0]);
    slider.setAttribute("aria-valuemax", chart.across.at(-1));
    return slider;
  };
  const scaleOf = ({ranges, scales}, axis) => ({
    ...({log: {distr: 3}, symlog: {distr: 4, asinh: 1}}[scales[axis]]),
    ...(ranges[axis] && {range: () => ranges[axis]}),
  });
  const PER_LETTER = 7;  // pixels, of the labels at the axes
  const roomFor = (plot, labels) =>
    18 + PER_LETTER * Math.max(3, ...(labels ?? []).map((label) => String(label ?? "").length));
  const apart = (plot, ticks) => {  // those labels across that do not run into the one before
    let free = -Infinity;
    return ticks.map(([value, label]) => {
      const half = PER_LETTER * (label.length + 1) / 2, middle = plot.valToPos(value, "x");
      if (middle - half < free) return "";
      free = middle + half;
      return label;
    });
  };
  const ticksOf = ({ticks}, axis) => ticks && {  // the figure's own
    splits: () => ticks[axis].map(([value]) => value), filter: (plot, splits) => splits,
    values: (plot) => axis === "across" ? apart(plot, ticks.across) : ticks.up.map(([, label]) => label),
  };
  const draw = (chart, target) => {
    const names = Object.keys(chart.lines), slider = charts.children[target];
    const line = (name) => {
      const {color, dash} = methods.find((method) => method.name === name);
      return {label: name, stroke: color, dash, width: 2, show: !hidden.has(name), spanGaps: true,
              points: {show: false}};
    };
    const axis = {stroke: "#57606a", grid: {stroke: "#e8ecf0", width: 1}, ticks: {stroke: "#d0d7de"}};
    const plot = new uPlot({
      width: slider.clientWidth - 14, height: 280, legend: {show: false},
      scales: {x: {time: false, ...scaleOf(chart, "across")}, y: scaleOf(chart, "up")},
      series: [{}, ...names.map(line)],
      axes: [{...axis, label: view.across, labelSize: 22, labelGap: 0, ...ticksOf(chart, "across")},
             {...axis, size: roomFor, ...ticksOf(chart, "up")}],
      cursor: {drag: {x: false, y: false}, y: false, sync: {key: `pointer-${part}`}},
      hooks: {setCursor: [(plot) => {
        if (!plots[target]) return;
        tell(target, plot.cursor.idx ?? resting(chart));
      }]},
    }, [chart.across, ...names.map((name) => chart.lines[name].median)], slider);
    plots[target] = {plot, chart, names, slider, index: 0};
    slider.addEventListener("focus", () => point(chart.across[plots[target].index]));
    slider.addEventListener("blur", () => plots.forEach(({plot}) => plot.setCursor({left: -10, top: -10})));
    slider.addEventListener("keydown", (event) => {
      const last = chart.across.length - 1, far = Math.ceil(last / 10), now = plots[target].index;
      const to = {ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1,
                  PageUp: now + far, PageDown: now - far, Home: 0, End: last}[event.key];
      if (to === undefined) return;
      event.preventDefault();
      point(chart.across[Math.max(0, Math.min(last, to))]);
    });
  };

  const show = (chosen) => {
    plots.forEach(({plot}) => plot.destroy());
    [view, plots] = [chosen, []];
    charts.replaceChildren(...view.charts.map(frame));  // all of them, before any is measured
    view.charts.forEach(draw);
    rest();
  };

  views.forEach((each, at) => {
    const button = make("input", {type: "radio", name: `view-${part}`, checked: at === 0});
    button.addEventListener("change", () => show(each));
    choice.append(make("label", {}, button, ` ${each.title}`));
  });
  choice.hidden = views.length === 1;
  section.hidden = false;
  const isFolded = () => section.tagName === "DETAILS" && !section.open;
  if (!isFolded()) show(view);
  section.addEventListener("toggle", () => {  // a folded part has no width
    if (!isFolded() && !plots.length) show(view);
  });
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => plots.forEach(({plot, slider}) =>
      plot.setSize({width: slider.clientWidth - 14, height: 280})), 100);
  });
};
document.querySelectorAll(".pointer").forEach((section, part) => {
  try { answer(section, part); }
  catch (error) {  // the others go on
    section.hidden = true;
    console.error(error);
  }
});
