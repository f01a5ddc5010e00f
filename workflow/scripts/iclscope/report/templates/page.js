"use strict";

// Every table sorts by its headers; longer ones get a filter. Without a script they are plain tables.
for (const table of document.querySelectorAll("table.data")) {
  const long = table.tBodies[0].rows.length > 8;
  new DataTable(table, {
    paging: false,
    info: false,
    order: [],
    autoWidth: false,
    searching: long,
    layout: { topStart: long ? "search" : null, topEnd: null, bottomStart: null, bottomEnd: null },
    language: { search: "Filter", zeroRecords: "No row matches." },
    columnDefs: [{ targets: "number", type: "num" }],
  });
}

// What is copied stands in the button as JSON, for markup does not keep every line break.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const said = button.parentElement.querySelector("[role=status]");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(JSON.parse(button.dataset.copy));
      said.textContent = "Copied.";
    } catch {
      said.textContent = "The browser does not allow it; mark the text and copy it.";
    }
    setTimeout(() => { said.textContent = ""; }, 4000);
  });
}

function save(address, name) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}

// A picture is saved as it stands in the page, or drawn at twice its size as PNG.
function savePng(picture, name) {
  const canvas = document.createElement("canvas");
  const scale = (2 * 1200) / picture.naturalWidth;
  canvas.width = picture.naturalWidth * scale;
  canvas.height = picture.naturalHeight * scale;
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  save(canvas.toDataURL("image/png"), name);
}

for (const button of document.querySelectorAll("button[data-save]")) {
  const picture = button.closest("figure").querySelector("img");
  const name = `${button.dataset.name}.${button.dataset.save}`;
  button.hidden = false;
  button.addEventListener("click", () => {
    if (button.dataset.save === "svg") save(picture.src, name);
    else savePng(picture, name);
  });
}
