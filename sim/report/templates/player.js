// The player of an evaluation report: films of one episode, side by side where two evaluations are compared, with the
// predicted trajectories drawn over them. Stands behind episodes.js.

// ---- predicted motion

const loaded = new Map(); // By file: a promise of trajectories.

// What each file of predicted trajectories calls when it loads; see sim/pictures/predicted_tracks.py.
function predicted(script, packed) {
  script.packed = packed;
}

// Predicted trajectories of one run of an episode: [{step, views: [{count, points: Float32Array}]}], or null.
function trajectories(run) {
  if (!run.tracks) return Promise.resolve(null);
  if (!loaded.has(run.tracks)) {
    loaded.set(run.tracks, new Promise((resolve) => {
      const script = make("script", { src: run.tracks });
      script.onload = () => resolve(unpack(script.packed));
      script.onerror = () => resolve(null);
      document.head.append(script);
    }));
  }
  return loaded.get(run.tracks);
}

// First points and steps are whole numbers of 1/scale, 16 bit, gzip, base64.
async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const numbers = new Int16Array(await new Response(stream).arrayBuffer());
  let at = 0;
  return packed.steps.map((step, chunk) => ({
    step,
    views: packed.counts[chunk].map((count) => {
      const points = new Float32Array(packed.times * count * 2), sums = new Int32Array(count * 2);
      for (let time = 0, to = 0; time < packed.times; time++) {
        for (let i = 0; i < count * 2; i++) points[to++] = (sums[i] += numbers[at++]) / packed.scale;
      }
      return { count, points };
    }),
  }));
}

const palette = [[254, 231, 76], [255, 143, 60], [240, 60, 110], [170, 60, 230]];
function color(share, alpha) {
  const at = share * (palette.length - 1), from = Math.min(Math.floor(at), palette.length - 2);
  const mixed = palette[from].map((value, i) => value + (palette[from + 1][i] - value) * (at - from));
  return `rgba(${mixed.map(Math.round).join(",")},${alpha})`;
}

// As sim/pictures/overlay.py draws: later steps above earlier ones, what has passed fades over 8 steps.
function draw(run) {
  const { canvas, video, chunks } = run;
  const ratio = window.devicePixelRatio || 1, width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  if (!chunks || !element("overlay").checked || !video.videoWidth) return;
  const step = stepOf(run), chunk = chunks.filter((c) => c.step <= step).at(-1);
  if (!chunk) return;
  const side = width / data.columns;
  pen.lineWidth = Math.max(1, height / 200);
  chunk.views.forEach(({ count, points }, view) => {
    const left = data.view_columns[view] * side;
    pen.save();
    pen.beginPath();
    pen.rect(left, 0, side, height);
    pen.clip();
    const last = points.length / (count * 2) - 1;
    for (let time = 0; time < last; time++) {
      const alpha = Math.min(1, 1 - (step - chunk.step - time - 0.5) / 8);
      if (alpha <= 0) continue;
      pen.strokeStyle = color(time / (last - 1), alpha);
      pen.beginPath();
      for (let point = 0; point < count; point++) {
        const a = (time * count + point) * 2, b = a + count * 2;
        pen.moveTo(left + (points[a + 1] + 1) / 2 * side, (points[a] + 1) / 2 * height);
        pen.lineTo(left + (points[b + 1] + 1) / 2 * side, (points[b] + 1) / 2 * height);
      }
      pen.stroke();
    }
    pen.restore();
  });
}

// ---- films

let current = null; // { index, runs: [{ info, video, canvas, chunks }] }
const frameOf = (step) => Math.ceil(step / data.steps_per_frame);
const stepOf = ({ info, video }) =>
  Math.min(info.steps, Math.floor(video.currentTime * data.frames_per_second + 1e-3) * data.steps_per_frame);

function seek(step) {
  for (const { info, video } of current.runs) {
    video.currentTime = (frameOf(Math.min(step, info.steps)) + 0.5) / data.frames_per_second;
  }
}

function tick() {
  if (!current) return;
  const slider = element("step"), steps = current.runs.map(stepOf), now = Math.max(0, ...steps);
  if (!current.dragged) slider.value = now;
  const at = current.dragged ? Number(slider.value) : now;
  element("now").textContent = `step ${at} of ${slider.max}, ${(at / data.control_frequency).toFixed(2)} s`;
  const playing = current.runs.some(({ video }) => !video.paused && !video.ended);
  element("toggle").textContent = playing ? "Pause" : "Play";
  current.runs.forEach(draw);
  current.timer = requestAnimationFrame(tick);
}

// From now on the slider decides what is shown.
function hold() {
  current.dragged = true;
  current.runs.forEach(({ video }) => video.pause());
}

function show(step) {
  hold();
  const slider = element("step");
  slider.value = step; // The browser keeps it within the episode.
  seek(Number(slider.value));
}

function toggle() {
  current.dragged = false;
  const videos = current.runs.map(({ video }) => video);
  if (videos.some((video) => !video.paused && !video.ended)) return videos.forEach((video) => video.pause());
  if (videos.every((video) => video.ended)) seek(0);
  videos.filter((video) => !video.ended).forEach((video) => video.play());
}

function figure(info, number) {
  const name = data.runs.length > 1 ? `${data.runs[number]}: ` : "";
  if (!info) return make("figure", {}, make("figcaption", { textContent: `${name}not played` }));
  const caption = make("figcaption", {}, name,
    make("span", { className: looks[info.outcome], textContent: ending(info) }),
    ` (${info.wall_time_s.toFixed(1)} s), seed ${info.seed}, initial state ${info.init_state}`);
  const parts = [caption];
  if (info.error) parts.push(make("details", {}, make("summary", { textContent: "What broke" }), make("pre", { textContent: info.error })));
  const copy = make("button", { type: "button", textContent: "Copy" });
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(info.command).catch(() => {});
    copy.textContent = "Copied";
  });
  parts.push(make("details", {}, make("summary", { textContent: "Play this very episode again" }), make("pre", { textContent: info.command }), copy));
  if (!info.video) {
    const ending = info.poster
      ? [make("div", { className: "screen" }, make("img", { src: info.poster, alt: "how it ended" }))] : [];
    const note = info.poster ? "not filmed; so it ended" : "not filmed";
    return make("figure", {}, ...ending, make("p", { className: "faint", textContent: note }), ...parts);
  }
  const video = make("video", { src: info.video, muted: true, playsInline: true, preload: "auto" });
  const canvas = make("canvas");
  const run = { info, video, canvas, chunks: null };
  current.runs.push(run);
  trajectories(info).then((chunks) => { run.chunks = chunks; });
  return make("figure", {}, make("div", { className: "screen" }, video, canvas), ...parts);
}

// ---- the player

function play(index) {
  stop();
  const episode = shown[index];
  current = { index, runs: [], dragged: false };
  element("name").textContent = `${episode.suite} ${episode.task}, episode ${episode.episode}: ${episode.language}`;
  element("players").replaceChildren(...episode.runs.map(figure));
  element("step").max = Math.max(0, ...episode.runs.filter(Boolean).map((run) => run.steps));
  element("controls").hidden = !current.runs.length;
  element("overlaid").hidden = !current.runs.some(({ info }) => info.tracks);
  history.replaceState(null, "", `#${address(episode)}`);
  if (!element("player").open) element("player").showModal();
  takeKeyboard();
  for (const { video } of current.runs) video.play().catch(() => {});
  tick();
}

// The player of an episode has an address of its own: index.html#SUITE-TASK-EPISODE.
function address(episode) {
  return `${episode.suite}-${episode.task}-${episode.episode}`;
}

function stop() {
  if (!current) return;
  cancelAnimationFrame(current.timer);
  for (const { video } of current.runs) video.pause();
  current = null;
}

function move(by) {
  play((current.index + by + shown.length) % shown.length);
}

// ---- keys

// The films have the keyboard until somebody walks to a button with Tab, and again after every click.
let walking = false;
function takeKeyboard() {
  walking = false;
  element("players").focus({ preventScroll: true });
}

const keys = {
  " ": toggle,
  n: () => move(1),
  p: () => move(-1),
  ArrowLeft: () => show(Number(element("step").value) - 1),
  ArrowRight: () => show(Number(element("step").value) + 1),
  Home: () => show(0),
  End: () => show(element("step").max),
};

document.addEventListener("keydown", (event) => {
  if (!current || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Tab") walking = true;
  if (event.key === " " && walking && event.target.closest("button, summary, input[type=checkbox]")) return;
  const action = keys[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

element("player").addEventListener("pointerdown", () => { walking = false; });
for (const kind of ["click", "change"]) {
  element("player").addEventListener(kind, (event) => {
    if (current && !walking && event.target.closest("button, summary, input, label")) takeKeyboard();
  });
}

element("toggle").addEventListener("click", toggle);
element("previous").addEventListener("click", () => move(-1));
element("next").addEventListener("click", () => move(1));
element("close").addEventListener("click", () => element("player").close());
element("player").addEventListener("close", () => {
  const episode = current && shown[current.index];
  stop();
  history.replaceState(null, "", "#");
  if (episode) reveal(episode);
});
element("step").addEventListener("pointerdown", hold);
element("step").addEventListener("input", (event) => show(event.target.value));

const linked = shown.findIndex((episode) => `#${address(episode)}` === location.hash);
if (linked >= 0) play(linked);
