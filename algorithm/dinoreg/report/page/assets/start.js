// Starts the viewer where the browser can, and says why where it cannot: the picture is shown in any case.

async function begin() {
  const probe = document.createElement("canvas").getContext("webgl2");
  if (!probe) throw new Error("this browser has no WebGL 2, or it is switched off");
  probe.getExtension("WEBGL_lose_context")?.loseContext();
  const script = document.createElement("script");
  script.type = "module";
  script.textContent = new TextDecoder().decode(await unpack("niivue"));
  const failed = new Promise((_, reject) => {
    window.addEventListener("error", (event) => reject(event.error), { once: true });
  });
  const loaded = (async () => {
    document.head.append(script);
    while (!globalThis.Niivue) await new Promise((done) => setTimeout(done, 10));
  })();
  await Promise.race([loaded, failed]);
  document.documentElement.classList.add("interactive");
  const viewer = new Viewer(await loadArrays());
  await viewer.start();
  wireControls(viewer);
  byId("static").open = false;
  byId("why-static").textContent = "";
  globalThis.viewer = viewer;
}

begin().then(
  () => { document.documentElement.dataset.viewer = "ready"; },
  (error) => {
    document.documentElement.classList.remove("interactive");
    document.documentElement.dataset.viewer = "off";
    byId("why-static").textContent = `The interactive viewer is off: ${error?.message ?? error}.`;
  },
);
