"use strict";
// What a page must do itself: hand files over, and listen to the keyboard. Everything else is decided by the workbench.
(() => {
  const tell = (name, ...args) => window.trame.trigger(name, args);
  let request = null;

  function choose(button) { document.getElementById(button.dataset.input).click(); }

  async function upload(input) {
    const files = [...input.files];
    input.value = "";
    if (!files.length) return;
    const refused = await refusal(files);
    if (refused) tell("uploaded", "", refused);
    else send(files);
  }

  // The door's own sentence, before gigabytes are on their way. It counts for itself, too.
  async function refusal(files) {
    const limits = await fetch("upload").then((answer) => answer.json()).catch(() => ({}));
    if (files.length > limits.files) return limits.too_many;
    return files.reduce((bytes, file) => bytes + file.size, 0) > limits.bytes ? limits.too_large : "";
  }

  function send(files) {
    const form = new FormData();
    for (const file of files) form.append("files", file, file.webkitRelativePath || file.name);
    request = new XMLHttpRequest();
    let told = 0;
    request.upload.onprogress = (event) => {
      const percent = event.lengthComputable ? Math.round(100 * event.loaded / event.total) : 0;
      if (percent > told) tell("uploading", told = percent);
    };
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* not the front's own words */ }
      tell("uploaded", answer.upload || "", answer.sentence || "");
    };
    request.onerror = () => tell("uploaded", "", "");
    request.onabort = () => tell("uploaded", "", "stopped");
    request.open("POST", "upload");
    request.send(form);
    tell("uploading", 0);
  }

  function stopUpload() { if (request) request.abort(); }

  function reload() { location.reload(); }

  function invite(input) {
    const file = input.files[0];
    input.value = "";
    if (file) file.slice(0, 1000001).text().then((text) => tell("invite", text));
  }

  async function saveRequest() {
    const text = await tell("request");
    if (!text) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "fedliver-request.json";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // No handler stands in the page itself, so that the door's policy can forbid them all: a control names what it does in data-do.
  const AT_A_CLICK = { choose, "stop-upload": stopUpload, "save-request": saveRequest, reload };
  const AT_A_CHANGE = { upload, invite };

  for (const [kind, actions] of [["click", AT_A_CLICK], ["change", AT_A_CHANGE]]) {
    document.addEventListener(kind, (event) => {
      const control = event.target.closest("[data-do]");
      const action = control && actions[control.dataset.do];
      if (action && control.getAttribute("aria-disabled") !== "true") action(control);
    });
  }

  const IN_A_VIEW = {
    ArrowUp: ["scroll", 1], ArrowDown: ["scroll", -1], PageUp: ["scroll", 10], PageDown: ["scroll", -10],
    "+": ["zoom", true], "-": ["zoom", false], " ": ["dab", 1],
  };
  const WITH_SHIFT = { ArrowUp: ["cross", [0, 1]], ArrowDown: ["cross", [0, -1]], ArrowLeft: ["cross", [-1, 0]], ArrowRight: ["cross", [1, 0]] };
  const WITH_CTRL = { z: ["undo"], y: ["redo"], Z: ["redo"] };
  const TOOLS = ["none", "paint", "erase", "scissors", "islands", "threshold", "smoothing"];
  const ANYWHERE = { f: ["fit"], n: ["lookButton"], "[": ["brush", -1], "]": ["brush", 1] };

  function meant(event) {
    const here = event.target;
    if (event.altKey || event.metaKey) return null;
    if (event.ctrlKey) return here.type === "text" ? null : WITH_CTRL[event.key] && ["press", ...WITH_CTRL[event.key]];
    if (/^(text|number)$/.test(here.type) || here.tagName === "SELECT") return null;
    const around = here.type === "range" ? null : here.closest("[data-view]");
    const view = around && around.dataset.view;
    const moves = event.shiftKey && event.key in WITH_SHIFT ? WITH_SHIFT : IN_A_VIEW;
    if (view && event.key in moves) return ["move", view, ...moves[event.key]];
    if (/^[0-6]$/.test(event.key)) return ["press", "tool", TOOLS[Number(event.key)]];
    return ANYWHERE[event.key] ? ["press", ...ANYWHERE[event.key]] : null;
  }

  document.addEventListener("keydown", (event) => {
    const message = document.querySelector("dialog.question") ? null : meant(event);
    if (!message) return;
    tell(...message);
    event.preventDefault();
    event.stopPropagation();
  }, true);

  // What a control does, or why it cannot now, for whoever has no mouse to rest on it.
  document.addEventListener("focusin", (event) => {
    const hint = document.querySelector(".hint");
    const said = event.target.closest("[title]");
    if (hint) hint.textContent = said ? said.title : "";
  });

  // The workbench was ended, or the network was: come back when it answers.
  setInterval(() => {
    if (document.querySelector(".lost")) fetch("index.html", { cache: "no-store" }).then((answer) => answer.ok && location.reload(), () => {});
  }, 3000);

  // A question holds the keyboard until it is answered; Escape says no.
  new MutationObserver(() => {
    const question = document.querySelector("dialog.question:not([open])");
    if (!question) return;
    question.addEventListener("cancel", (event) => { event.preventDefault(); tell("answer", false); });
    question.showModal();
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
