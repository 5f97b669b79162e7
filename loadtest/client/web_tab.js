// The Connections tab, inside Locust's page. Locust draws the tab itself and leaves it empty: while
// it is the selected one, our part stands below the row of tabs, in the element that Locust takes
// away with it when it shows its form instead.
(() => {
  "use strict";

  const TITLE = "Connections";
  const WIDTH = 300;
  const HEIGHT = 100;
  const SHORTEST = 60; // seconds that a chart spans at least
  const PATIENCE = 5; // seconds after which figures are old

  const count = (value) => value.toLocaleString("en");
  const megabytes = (value) => (value / 1e6).toLocaleString("en", { maximumFractionDigits: 1 }) + " MB";
  const percent = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 }) + " %";

  const CHARTS = [
    { id: "held", name: "Connections held", show: count, least: 10, lines: { asked: "b", held: "a", lost: "c" } },
    { id: "rss", name: "Server RSS", show: megabytes, least: 10e6, lines: { rss: "a" } },
    { id: "cpu", name: "Server CPU, of one core", show: percent, least: 10, lines: { cpu: "a" } },
    { id: "threads", name: "Server threads", show: count, least: 4, lines: { threads: "a" } },
  ];

  const copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
  const last = (column) => (column.length ? column[column.length - 1] : null);
  const known = (column) => column.filter((value) => value !== null);

  const part = copy("c10k-tab");
  const find = (name) => part.querySelector(`.c10k-${name}`);
  for (const chart of CHARTS) {
    chart.figure = copy("c10k-chart");
    chart.figure.dataset.figure = chart.id;
    chart.find = (name) => chart.figure.querySelector(`.c10k-${name}`);
    chart.find("name").textContent = chart.name;
    chart.paths = Object.entries(chart.lines).map(([column, colour]) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", `c10k-${colour}`);
      chart.figure.querySelector("svg").append(path);
      return [column, path];
    });
    find("grid").append(chart.figure);
  }

  // One of a few round numbers, so that the scale rarely changes.
  function ceiling(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 1.5, 2, 3, 5, 7.5, 10].map((step) => step * power).find((step) => step >= value * 0.999999);
  }

  // What was not measured is a gap in the line.
  function outline(ages, values, span, top) {
    let pen = "M";
    const steps = [];
    values.forEach((value, index) => {
      if (value === null || ages[index] > span) {
        pen = "M";
        return;
      }
      const x = WIDTH * (1 - ages[index] / span);
      const y = HEIGHT * (1 - value / top);
      steps.push(`${pen}${x.toFixed(1)} ${y.toFixed(1)}`);
      if (pen === "M" && (index + 1 >= values.length || values[index + 1] === null)) {
        steps.push("h0.1"); // a moment alone between two gaps is a dot
      }
      pen = "L";
    });
    return steps.join("");
  }

  function draw(chart, history, span) {
    const columns = chart.paths.map(([column]) => history[column]);
    const most = columns.flatMap(known).reduce((one, other) => Math.max(one, other), chart.least);
    const top = ceiling(most);
    for (const [column, path] of chart.paths) {
      const empty = column === "lost" && !history.lost.some((value) => value > 0);
      path.setAttribute("d", empty ? "" : outline(history.age, history[column], span, top));
    }
    const value = last(history[chart.id]);
    chart.find("now").textContent = value === null ? "not measured" : chart.show(value);
    chart.find("now").classList.toggle("c10k-none", value === null);
    chart.find("now").dataset.value = value === null ? "" : value;
    chart.find("top").textContent = chart.show(top);
    chart.find("since").textContent = span < 120 ? `${Math.round(span)} s ago` : `${Math.round(span / 60)} min ago`;
    const measured = known(history[chart.id]);
    const highest = measured.length ? `highest ${chart.show(measured.reduce((a, b) => Math.max(a, b)))}` : "";
    if (chart.id === "held") {
      noteHeld(chart.find("note"), history);
    } else {
      chart.find("note").textContent = highest;
    }
    chart.figure.querySelector("svg").setAttribute("aria-label", `${chart.name} over time, ${highest || "not measured"}`);
  }

  function noteHeld(note, history) {
    const asked = last(history.asked);
    const words = [
      ["b", asked === null ? "no test runs" : `asked ${count(asked)}`],
      ["c", `lost ${count(last(history.lost) ?? 0)}`],
    ];
    note.replaceChildren(
      ...words.map(([colour, text]) => {
        const word = document.createElement("span");
        const key = document.createElement("span");
        key.className = `c10k-key c10k-${colour}`;
        word.style.marginRight = "1.25em";
        word.append(key, text);
        return word;
      }),
    );
    note.dataset.asked = asked ?? "";
    note.dataset.lost = last(history.lost) ?? "";
  }

  function say(name, text) {
    find(name).hidden = !text;
    if (find(name).textContent !== text) {
      find(name).replaceChildren(...text.split(/(--[a-z-]+)/).map(whole));
    }
  }

  // The name of an option is not broken at its hyphens.
  function whole(piece) {
    const span = document.createElement("span");
    span.textContent = piece;
    span.className = piece.startsWith("--") ? "c10k-option" : "";
    return span;
  }

  function show(known) {
    const { history } = known;
    const age = last(history.age);
    if (age === null) {
      return;
    }
    const span = Math.min(known.kept, Math.max(SHORTEST, history.age[0]));
    for (const chart of CHARTS) {
      draw(chart, history, span);
    }
    const seen = known.source && !known.problem ? `Server: ${known.source}.` : "";
    const workers =
      known.workers === null ? "" : `Connections: those of ${known.workers} Locust workers, who report every 3 s.`;
    const server = known.problem ? `The server's figures are not measured. ${known.problem}` : "";
    tell(age > PATIENCE ? `These figures are ${Math.round(age)} s old. ${server}` : server, age > PATIENCE);
    say("source", `${seen} ${workers}`.trim());
  }

  function tell(problem, old) {
    say("problem", problem);
    part.classList.toggle("c10k-old", old);
  }

  let asking = false;
  async function refresh() {
    if (!part.isConnected || document.hidden || asking) {
      return;
    }
    asking = true;
    try {
      const answer = await fetch("./connections", { cache: "no-store", signal: AbortSignal.timeout(1000 * PATIENCE) });
      if (!answer.ok) {
        throw new Error(`it says ${answer.status}`);
      }
      show(await answer.json());
    } catch (error) {
      tell(`Locust does not answer (${error.message}); the figures are the last that it gave.`, true);
    } finally {
      asking = false;
    }
  }

  // Locust draws its page anew at will, so where our part belongs is asked after every change.
  function place() {
    const selected = document.querySelector('main [role="tab"][aria-selected="true"]');
    if (selected === null || selected.textContent.trim() !== TITLE) {
      part.remove();
      return;
    }
    const container = selected.closest("main > *");
    if (container !== null && part.parentElement !== container) {
      container.append(part);
      refresh();
    }
  }

  new MutationObserver(place).observe(document.getElementById("root"), {
    subtree: true,
    childList: true,
    attributeFilter: ["aria-selected"],
  });
  place();
  setInterval(refresh, 1000);
})();
