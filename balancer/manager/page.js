"use strict";
(function () {
  var rows = document.querySelectorAll("tr[data-m]");
  function put(live) {
    live.forEach(function (l) {
      rows.forEach(function (row) {
        if (row.dataset.b !== l.b || row.dataset.m !== l.m) return;
        var cells = row.querySelectorAll("td");
        l.cells.forEach(function (text, i) { cells[i].textContent = text; });
        row.querySelector("polyline").setAttribute("points", l.points);
      });
    });
    document.body.dataset.live = String(Number(document.body.dataset.live || 0) + 1);
  }
  function ask() {
    if (document.hidden) return;
    fetch(location.pathname + "?live=1", { credentials: "same-origin" })
      .then(function (r) { if (!r.ok) throw r.status; return r.json(); })
      .then(put).catch(function () {});
  }
  if (window.fetch && rows.length) { setInterval(ask, 2000); ask(); }
})();
