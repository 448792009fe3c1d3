"use strict";
// What a page must do itself: hand files over, and listen to the keyboard. Everything else is decided by the workbench.
window.fedliver = (() => {
  const tell = (name, ...args) => window.trame.trigger(name, args);
  let request = null;

  function choose(id) { document.getElementById(id).click(); }

  function upload(input) {
    const files = [...input.files];
    if (!files.length) return;
    const form = new FormData();
    for (const file of files) form.append("files", file, file.webkitRelativePath || file.name);
    input.value = "";
    request = new XMLHttpRequest();
    request.upload.onprogress = (event) => tell("uploading", event.lengthComputable ? Math.round(100 * event.loaded / event.total) : 0);
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

  const KEYS = { ArrowUp: ["scroll", 1], ArrowDown: ["scroll", -1], PageUp: ["scroll", 10], PageDown: ["scroll", -10], "+": ["zoom", true], "-": ["zoom", false] };

  document.addEventListener("keydown", (event) => {
    const view = event.target.dataset ? event.target.dataset.view : undefined;
    if (view && event.key in KEYS && !event.ctrlKey && !event.altKey) {
      tell("move", view, ...KEYS[event.key]);
      event.preventDefault();
    }
  }, true);

  return { choose, upload, stopUpload };
})();
