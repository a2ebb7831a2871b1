// Pictures: a click on a cell shows what the field did to the case; each is fetched when it is shown.
const pictures = document.getElementById("pictures");
const addresses = new Map();
for (const link of document.querySelectorAll("a.picture")) {
  const place = `${link.dataset.run} ${link.dataset.case}`;
  addresses.set(place, link.getAttribute("href"));
}
const [pictureRun, pictureCase] = ["picture-run", "picture-case"].map((id) => document.getElementById(id));
const showPicture = () => {
  const address = addresses.get(`${pictureRun.value} ${pictureCase.value}`);
  const place = document.getElementById("picture-place");
  place.replaceChildren();
  if (address) {
    const image = new Image();
    image.alt = `${pictureRun.selectedOptions[0].textContent}, ${pictureCase.selectedOptions[0].textContent}`;
    image.src = address;
    place.append(image);
  } else {
    place.textContent = "Not drawn: nobody asked for it (--pictures), there is no usable field, or drawing it failed.";
  }
  const name = pictureRun.selectedOptions[0].textContent;
  const row = [...closer.tBodies[0].rows].find((one) => one.cells[0].dataset.value === name);
  const heads = [...closer.tHead.rows[0].cells].slice(1);
  const values = [...row.cells].slice(1).map((cell, column) => {
    const value = valuesOf(cell, "cases")[Number(pictureCase.value)];
    return `${heads[column].textContent.trim()} ${valueText(value)}`;
  });
  document.getElementById("picture-values").textContent = values.join(" · ");
};
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.picture");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;  // a tab of its own, if asked for
  event.preventDefault();
  [pictureRun.value, pictureCase.value] = [link.dataset.run, link.dataset.case];
  showPicture();
  pictures.showModal();
});
document.getElementById("pictures-open").addEventListener("click", () => { showPicture(); pictures.showModal(); });
document.getElementById("pictures-close").addEventListener("click", () => pictures.close());
[pictureRun, pictureCase].forEach((select) => select.addEventListener("change", showPicture));
