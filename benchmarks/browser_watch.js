// Looks at what a view shows, frame by frame. Read by browser_speed.py; every time is of performance.now(), in milliseconds.
window.watch = (() => {
  const small = document.createElement("canvas");
  const pen = small.getContext("2d", { willReadFrequently: true });
  let view = null, place = null, changes = [], last = null, first = null, pressed = null, resting = null, coloured = null, running = false, edits = 0, letGo = null;

  // Fails where nothing of the kind is seen for a minute.
  const until = (what, ready) => new Promise((resolve, reject) => {
    const end = performance.now() + 60000;
    const ask = () => {
      const found = ready();
      if (found !== null) resolve(found);
      else if (performance.now() > end) reject(new Error(what));
      else setTimeout(ask, 5);
    };
    ask();
  });

  const picture = () => view.querySelector("canvas, img, video");

  // 48 x 48 points of the whole picture, or 5 x 5 pixels around the place.
  function look() {
    const shown = picture();
    if (!shown || !(shown.naturalWidth || shown.width || shown.videoWidth)) return null;
    const wide = shown.naturalWidth || shown.videoWidth || shown.width, high = shown.naturalHeight || shown.videoHeight || shown.height;
    if (place) {
      const box = shown.getBoundingClientRect();
      const x = Math.round(((place[0] - box.x) / box.width) * wide), y = Math.round(((place[1] - box.y) / box.height) * high);
      small.width = small.height = 5;
      pen.drawImage(shown, x - 2, y - 2, 5, 5, 0, 0, 5, 5);
    } else {
      small.width = small.height = 48;
      pen.drawImage(shown, 0, 0, wide, high, 0, 0, 48, 48);
    }
    return pen.getImageData(0, 0, small.width, small.height).data;
  }

  function mean(data) {
    const sum = [0, 0, 0];
    for (let at = 0; at < data.length; at += 4) for (let part = 0; part < 3; part++) sum[part] += data[at + part];
    return sum.map((value) => (4 * value) / data.length);
  }

  function frame(now) {
    if (!running) return;
    const data = look();
    if (data) {
      if (place) {
        const colour = mean(data);
        if (pressed === null) resting = colour;
        else if (coloured === null && colour.some((value, part) => Math.abs(value - resting[part]) > 12)) coloured = performance.now();
      } else {
        const text = data.join();
        if (text !== last) {
          if (mean(data).reduce((a, b) => a + b) > 15 && first === null) first = performance.now(); // a CT is not black
          changes.push(performance.now());
          last = text;
        }
      }
    }
    requestAnimationFrame(frame);
  }

  function begin(name) {
    view = document.querySelector(`[data-view=${name}]`);
    changes = []; last = null; first = null; place = null;
    if (!running) { running = true; requestAnimationFrame(frame); }
    return performance.now();
  }

  // Ready for the press once the colour before it has been seen.
  function beginAt(name, x, y) {
    begin(name);
    place = [x, y]; pressed = null; coloured = null; resting = null;
    document.addEventListener("mousedown", () => { pressed = performance.now(); }, { capture: true, once: true });
    return until("nothing is seen", () => resting);
  }

  function beginKept() {
    edits = window.trame.state.get("edits"); letGo = null;
    document.addEventListener("mouseup", () => { letGo = performance.now(); }, { capture: true, once: true });
  }

  return {
    begin, beginAt, beginKept,
    kept: () => until("no stroke is kept", () => (window.trame.state.get("edits") > edits ? performance.now() - letGo : null)),
    shown: () => until("no CT is seen", () => first),
    coloured: () => until(`no stroke is seen at ${place}: ${resting}`, () => (coloured === null ? null : coloured - pressed)),
    rate: () => (changes.length < 3 ? 0 : (1000 * (changes.length - 2)) / (changes[changes.length - 1] - changes[1])),
  };
})();
