"use strict";
// The episodes of an evaluation: groups of suites and tasks, folded, with filters and a search. All data is in the
// page; films, posters and predicted trajectories are files beside it, which also load from file:// addresses.
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
};
const grouped = (list, key) => {
  const groups = new Map();
  for (const item of list) {
    if (!groups.has(key(item))) groups.set(key(item), []);
    groups.get(key(item)).push(item);
  }
  return [...groups.values()];
};
const words = { success: "success", failure: "failure", error: "broke" };
const looks = { success: "good", failure: "bad", error: "odd" };
const FEW = 24; // So many episodes are shown unfolded.
data.episodes.forEach((episode, id) => { episode.id = id; });

let shown = []; // Episodes that pass the filters, in the order of the page.

// ---- what passes

const outcomes = (episode) => episode.runs.map((run) => run && run.outcome);
const wants = {
  all: () => true,
  failure: (episode) => outcomes(episode).includes("failure"),
  success: (episode) => outcomes(episode).includes("success"),
  error: (episode) => outcomes(episode).includes("error"),
  differ: (episode) => new Set(outcomes(episode)).size > 1 && !outcomes(episode).includes(null),
  first: (episode) => wants.differ(episode) && episode.runs[0].outcome === "success",
  second: (episode) => wants.differ(episode) && episode.runs[1].outcome === "success",
};

// What a search looks at: instruction, outcomes, and the numbers by which one speaks of an episode.
function tokens(episode) {
  const runs = episode.runs.filter(Boolean);
  const text = [
    episode.suite, "task", episode.task, "episode", episode.episode, ...episode.language.split(" "),
    ...runs.flatMap((run) => [words[run.outcome], "seed", run.seed, "state", run.init_state]),
  ];
  return text.map((word) => String(word).toLowerCase());
}

// Every word has to be there, a number as a whole: 3 finds episode 3, not 13.
function matches(episode, search) {
  episode.tokens ??= tokens(episode);
  return search.every((word) => /^\d+$/.test(word)
    ? episode.tokens.includes(word)
    : episode.tokens.some((token) => token.includes(word)));
}

function filter() {
  const wanted = wants[element("outcome").value], place = element("task").value;
  const search = element("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  shown = data.episodes.filter((episode) => wanted(episode)
    && (!place || place === episode.suite || place === `${episode.suite} ${episode.task}`)
    && matches(episode, search));
  element("count").textContent = `${shown.length} of ${data.episodes.length} episodes`;
  const passes = new Set(shown);
  for (const task of tasks) {
    task.shown = task.episodes.filter((episode) => passes.has(episode));
    task.node.hidden = !task.shown.length;
    task.count.textContent = task.shown.length < task.episodes.length ? `${task.shown.length} shown` : "";
    for (const mark of task.marks) mark.classList.toggle("faded", !passes.has(data.episodes[mark.dataset.episode]));
    task.stale = true;
  }
  for (const suite of suites) suite.node.hidden = suite.tasks.every((task) => task.node.hidden);
  fold();
}

// ---- groups

const suites = []; // { node, tasks }
const tasks = []; // { node, episodes, shown, grid, count, marks, stale: whether the grid shows something else }
const folded = new Map(); // By node: what the user chose; else few episodes are unfolded, and so is an only suite.

function fold() {
  const few = shown.length <= FEW;
  for (const { node } of suites) node.open = !(folded.get(node) ?? !(few || suites.length === 1));
  for (const task of tasks) {
    task.node.open = !(folded.get(task.node) ?? !few);
    fill(task);
  }
  element("unfold").textContent = tasks.every(({ node }) => node.open) ? "Fold all" : "Unfold all";
}

// Cards exist only where they can be seen.
function fill(task) {
  if (!task.node.open || !task.stale) return;
  task.grid.replaceChildren(...task.shown.map(card));
  task.stale = false;
}

function foldAll() {
  const fewer = element("unfold").textContent === "Fold all";
  for (const { node } of tasks) folded.set(node, fewer);
  for (const { node } of suites) folded.set(node, fewer && suites.length > 1);
  fold();
}

// Opens the groups of an episode and moves to its card.
function reveal(episode) {
  const task = tasks.find((other) => other.episodes.includes(episode));
  for (const node of [task.node, task.node.parentElement.closest("details")]) folded.set(node, false);
  fold();
  document.querySelector(`.card[data-episode="${episode.id}"]`)?.focus();
}

function score(episodes) {
  return make("span", { className: "score" }, ...data.runs.map((name, number) => {
    const ends = episodes.map((episode) => outcomes(episode)[number]);
    const broke = ends.filter((end) => end === "error").length;
    const valid = ends.filter(Boolean).length - broke, good = ends.filter((end) => end === "success").length;
    const label = data.runs.length > 1 ? `${name}: ` : "";
    const rate = valid ? `, ${Math.round(100 * good / valid)} %` : "";
    return make("span", { textContent: `${label}${good} of ${valid}${rate}${broke ? `, ${broke} broke` : ""}` });
  }));
}

// One mark for each episode in the order of their numbers, one line for each evaluation; a click plays it.
function strip(episodes) {
  const ordered = [...episodes].sort((a, b) => a.episode - b.episode);
  return make("span", { className: "strip" }, ...data.runs.map((name, number) =>
    make("span", {}, ...ordered.filter((episode) => episode.runs[number]).map((episode) => {
      const { outcome } = episode.runs[number];
      const mark = make("i", { className: looks[outcome], title: `episode ${episode.episode}: ${words[outcome]}` });
      mark.dataset.episode = episode.id;
      return mark;
    }))));
}

function taskGroup(episodes) {
  const { task, language } = episodes[0];
  const count = make("span", { className: "faint" }), marks = strip(episodes), grid = make("ul", { className: "grid" });
  const summary = make("summary", {}, make("span", { className: "title", textContent: `${task} ${language}` }), count,
    score(episodes), marks);
  marks.addEventListener("click", (event) => {
    const episode = data.episodes[event.target.dataset.episode];
    if (!shown.includes(episode)) return;
    event.preventDefault();
    play(shown.indexOf(episode));
  });
  const group = { node: make("details", { className: "task" }, summary, grid), episodes, grid, count };
  marks.setAttribute("aria-hidden", "true");
  group.marks = [...marks.querySelectorAll("i")];
  tasks.push(group);
  return group;
}

function suiteGroup(episodes) {
  const inside = grouped(episodes, ({ task }) => task).map(taskGroup);
  const summary = make("summary", {}, make("span", { className: "title", textContent: episodes[0].suite }),
    score(episodes));
  const node = make("details", { className: "suite" }, summary, ...inside.map((task) => task.node));
  suites.push({ node, tasks: inside });
  return node;
}

const ending = (run) => (run.outcome === "error" ? "broke" : `${words[run.outcome]} after ${run.steps} steps`);

function card(episode) {
  const posters = make("span", { className: "posters" });
  const lines = episode.runs.map((run, number) => {
    posters.append(run && run.poster
      ? make("img", { src: run.poster, alt: "", loading: "lazy" })
      : make("span", { className: "blank", textContent: run ? "no picture" : "not played" }));
    const name = data.runs.length > 1 ? `${data.runs[number]}: ` : "";
    return make("strong", {}, name, run
      ? make("span", { className: looks[run.outcome], textContent: ending(run) })
      : "not played");
  });
  const film = episode.runs.some((run) => run && run.video) ? "" : ", not filmed";
  const button = make("button", { className: "card", type: "button" }, posters, ...lines,
    make("span", { className: "faint", textContent: `episode ${episode.episode}${film}` }));
  button.dataset.episode = episode.id;
  button.addEventListener("click", () => play(shown.indexOf(episode)));
  return make("li", {}, button);
}

element("groups").append(...grouped(data.episodes, ({ suite }) => suite).map(suiteGroup));
for (const { node } of [...suites, ...tasks]) {
  // Only the user clicks; what the script unfolds is no choice.
  node.firstChild.addEventListener("click", (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    folded.set(node, node.open);
    fold();
  });
}
for (const id of ["outcome", "task"]) element(id).addEventListener("change", filter);
element("search").addEventListener("input", filter);
element("unfold").addEventListener("click", foldAll);
filter();
