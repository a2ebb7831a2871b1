// One NiiVue with a canvas over it for everything that NiiVue does not draw.

const NIIVUE_OPTIONS = {
  isRadiologicalConvention: true,
  sagittalNoseLeft: true,
  isOrientationTextVisible: false,
  dragAndDropEnabled: false,
  crosshairWidth: 0,
  backColor: [0, 0, 0, 1],
  dragMode: 3, // the right button pans
  show3Dcrosshair: false,
  multiplanarShowRender: 0,
  logLevel: "error",
  viewModeHotKey: "",
  clipPlaneHotKey: "",
  cycleClipPlaneHotKey: "",
  loadingText: "",
  isAntiAlias: false,
};

class Panel {
  constructor(role, array) {
    this.role = role;
    this.array = array;
    this.screen = document.querySelector(`[data-role=${role}] .screen`);
    this.over = this.screen.querySelector(".over");
    this.picture = new OffscreenCanvas(1, 1);
    this.onDraw = () => {};
  }

  async start() {
    const nv = new globalThis.Niivue(NIIVUE_OPTIONS);
    this.nv = nv;
    await nv.attachToCanvas(this.screen.querySelector(".gl"), false);
    await nv.loadFromArrayBuffer(nifti(this.array), `${this.role}.nii`);
    // What NiiVue has drawn is gone once the browser has shown it: the copy is for the comparison.
    const draw = nv.drawScene.bind(nv);
    nv.drawScene = () => {
      draw();
      this.keepPicture();
      this.onDraw();
    };
  }

  keepPicture() {
    const { width, height } = this.nv.canvas;
    if (!width || !height) return; // hidden, or not laid out yet
    if (this.picture.width !== width) this.picture.width = width;
    if (this.picture.height !== height) this.picture.height = height;
    this.picture.getContext("2d").drawImage(this.nv.canvas, 0, 0);
  }

  show(window) {
    [this.nv.volumes[0].cal_min, this.nv.volumes[0].cal_max] = window;
    this.nv.updateGLVolume();
  }

  replace(values, window) {
    this.nv.volumes[0].img = values;
    this.show(window);
  }

  moveTo(v) {
    v.forEach((x, n) => {
      this.nv.scene.crosshairPos[n] = Math.min(Math.max((x + 0.5) / this.array.shape[n], 0), 1);
    });
  }

  get pixel() {
    return this.nv.uiData.dpr || 1;
  }

  get tiles() {
    return tilesOf(this.nv, this.array);
  }

  // The voxel under a place of the panel, in pixels of the page; null beside the image.
  voxelAt(x, y) {
    const frac = this.nv.canvasPos2frac([x * this.pixel, y * this.pixel]);
    if (frac[0] < 0) return null;
    return this.array.shape.map((size, n) => frac[n] * size - 0.5);
  }

  // An empty canvas as large as NiiVue's.
  cleared() {
    this.over.width = this.nv.canvas.width;
    this.over.height = this.nv.canvas.height;
    return this.over.getContext("2d");
  }
}
