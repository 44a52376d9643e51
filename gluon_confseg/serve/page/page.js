"use strict";
// A picture is posted to /segment; what comes back is shown over it. Nothing is asked of any other machine.
(() => {
  const at = (id) => document.getElementById(id);
  const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);
  const LISTED = 12;  // regions; the saved figures have more
  let about = null, limits = null, turn = 0, shown = [];

  function say(sentence) {
    at("error").textContent = sentence ? sentence[0].toUpperCase() + sentence.slice(1).replace(/\.?$/, ".") : "";
    at("error").hidden = !sentence;
  }

  async function start() {
    try {
      about = await (await fetch("network")).json();
      limits = about.limits;
      at("network").textContent = about.network;
      at("limits").textContent =
        `PNG or JPEG, up to ${(limits.upload_bytes / 2 ** 20).toFixed(limits.upload_bytes < 2 ** 20 ? 2 : 0)} MiB ` +
        `and ${(limits.pixels / 1e6).toFixed(1)} million pixels`;
      at("example-line").hidden = !about.example;
      at("confusion-choice").hidden = at("confused").hidden = at("save-confusion").hidden = !about.confusion;
    } catch (error) {
      say("the service does not answer; is it still running?");
    }
    document.documentElement.dataset.ready = "yes";
  }

  async function send(file) {
    const mine = ++turn;
    say("");
    if (limits && file.size > limits.upload_bytes) {
      return say(`this file has ${file.size.toLocaleString("en")} bytes, more than the ${limits.upload_bytes.toLocaleString("en")} that are taken`);
    }
    at("status").textContent = "The network is looking at it ...";
    const include = about && about.confusion ? "labels,overlay,confusion" : "labels,overlay";
    let answer, said;
    try {
      answer = await fetch(`segment?include=${include}`, {
        method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
      });
      said = await answer.json();
    } catch (error) {
      said = null;
    }
    if (mine !== turn) return;  // another picture has been dropped since
    at("status").textContent = "";
    if (!said || !answer.ok) return say(said ? said.error : "the service does not answer; is it still running?");
    show(file, said);
  }

  function show(file, said) {
    for (const url of shown) URL.revokeObjectURL(url);
    const { pictures, ...figures } = said;
    shown = [URL.createObjectURL(file), URL.createObjectURL(new Blob([JSON.stringify(figures, null, 1)], { type: "application/json" }))];
    at("picture").src = shown[0];
    at("save-json").href = shown[1];
    for (const name of ["overlay", "confusion"]) if (pictures[name]) at(name).src = pictures[name];
    for (const name of ["labels", "overlay", "confusion"]) if (pictures[name]) at(`save-${name}`).href = pictures[name];
    at("caption").textContent = `${file.name ? `${file.name}, ` : ""}${said.width} x ${said.height} pixels`;
    at("notes").hidden = !said.notes.length;
    at("notes").textContent = said.notes.map((note) => note[0].toUpperCase() + note.slice(1) + ".").join(" ");
    at("box").setAttribute("viewBox", `0 0 ${said.width} ${said.height}`);
    at("box").toggleAttribute("hidden", true);
    legend(said.classes);
    if (said.confused) regions(said.confused);
    at("result").hidden = false;
    document.body.classList.add("has-picture");
    mix();
  }

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function legend(classes) {
    at("legend").replaceChildren(...classes.map((each) => {
      const swatch = element("span", { class: "swatch" }), bar = element("i", {});
      swatch.style.background = each.color;  // by the script: the page's policy allows no style attributes
      bar.style.width = `${100 * each.share / classes[0].share}%`;
      return element("tr", {}, element("td", {}, swatch, each.class), element("td", { class: "meter" }, bar),
        element("td", { class: "n" }, percent(each.share)));
    }));
  }

  function regions(confused) {
    at("confused-said").textContent = confused.regions.length
      ? `The two best classes are of one group and close in ${percent(confused.share)} of the picture. The largest such regions; choose one to see where it is.`
      : "Nowhere are the two best classes of one group and close.";
    at("regions").replaceChildren(...confused.regions.slice(0, LISTED).map((region) => {
      const button = element("button", { type: "button", "aria-pressed": "false" },
        element("span", {}, region.classes.join(" or ")), element("span", { class: "n" }, `${region.pixels.toLocaleString("en")} px`));
      button.addEventListener("click", () => mark(button, region.box));
      return element("li", {}, button);
    }));
  }

  function mark(button, [x, y, width, height]) {
    const on = button.getAttribute("aria-pressed") !== "true";
    for (const other of at("regions").querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button && on));
    const rect = at("box").querySelector("rect");
    for (const [key, value] of Object.entries({ x, y, width, height })) rect.setAttribute(key, value);
    at("box").toggleAttribute("hidden", !on);
  }

  function mix() {
    const layer = document.querySelector("input[name=layer]:checked").value;
    for (const name of ["overlay", "confusion"]) {
      at(name).hidden = name !== layer;
      at(name).style.opacity = at("mix").value / 100;
    }
    at("mix-end").textContent = layer === "overlay" ? "Classes" : "Confusion";
  }

  const drop = at("drop");
  at("file").addEventListener("change", (event) => {
    if (event.target.files.length) send(event.target.files[0]);
    event.target.value = "";  // so that the same file can be chosen again
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  }
  document.addEventListener("drop", (event) => {
    const files = event.dataTransfer.files;
    if (files.length === 1) send(files[0]);
    else say(files.length ? "several files were dropped; drop one picture at a time" : "what was dropped is no file; drop a PNG or JPEG");
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) send(event.clipboardData.files[0]);
  });
  at("example").addEventListener("click", async () => {
    try {
      const answer = await fetch("example.png");
      send(new File([await answer.blob()], "street scene.png"));
    } catch (error) {
      say("the service does not answer; is it still running?");
    }
  });
  at("mix").addEventListener("input", mix);
  for (const input of document.querySelectorAll("input[name=layer]")) input.addEventListener("change", mix);
  start();
})();
