// Search (text or regular expression) and zoom inside of a saved flame graph; svg.py embeds it.
// It builds its own controls, so that none is shown where scripts do not run.
(function () {
  var script = document.currentScript;
  var svg = script && script.closest('svg.spprof');
  if (!svg) return;
  var WIDTH = svg.viewBox.baseVal.width;
  var MARGIN = +svg.dataset.margin;
  var CHARACTER = +svg.dataset.character;
  var frames = Array.prototype.map.call(svg.querySelectorAll('.frames > g'), function (g) {
    var rect = g.querySelector('rect'), text = g.querySelector('text');
    return {
      g: g, rect: rect, text: text, x: +rect.getAttribute('x'), w: +rect.getAttribute('width'),
      y: +rect.getAttribute('y'), rects: g.querySelectorAll('rect'),
      name: g.getAttribute('data-n') || (text ? text.firstChild.data : ''),
      module: g.getAttribute('data-m') || (text && text.children[0] ? text.children[0].textContent : ''),
      title: g.querySelector('title').textContent
    };
  });
  var whole = frames[0].w, message = svg.querySelector('.m'), zoomed = frames[0];
  function zoom(to) {
    zoomed = to;
    var scale = (WIDTH - 2 * MARGIN) / to.w;
    frames.forEach(function (f) {
      var above = f.y < to.y && f.x <= to.x + 0.01 && f.x + f.w >= to.x + to.w - 0.01;
      var inside = f.y >= to.y && f.x >= to.x - 0.01 && f.x + f.w <= to.x + to.w + 0.01;
      f.g.style.display = above || inside ? '' : 'none';
      f.g.classList.toggle('up', above);
      if (!above && !inside) return;
      var x = above ? MARGIN : MARGIN + (f.x - to.x) * scale;
      var w = above ? WIDTH - 2 * MARGIN : f.w * scale;
      Array.prototype.forEach.call(f.rects, function (rect) {
        rect.setAttribute('x', x);
        rect.setAttribute('width', w);
      });
      label(f, x, Math.floor((w - 10) / CHARACTER));
    });
  }
  // What fits of the name, and of the module behind it if all of the name does.
  function label(f, x, fits) {
    var whole = f.name.length <= fits;
    var name = whole ? f.name : fits >= 3 ? f.name.slice(0, fits - 1) + '\u2026' : '';
    if (!f.text && name) {
      f.text = f.g.appendChild(document.createElementNS(svg.namespaceURI, 'text'));
      f.text.setAttribute('y', f.y + 14);
    }
    if (!f.text) return;
    f.text.setAttribute('x', x + 5);
    f.text.textContent = name;
    var room = fits - f.name.length - 1;
    if (!name || !whole || !f.module || (room < 4 && f.module.length > room)) return;
    var behind = f.text.appendChild(document.createElementNS(svg.namespaceURI, 'tspan'));
    behind.setAttribute('dx', 7);
    behind.setAttribute('class', 'o');
    behind.textContent = f.module.length <= room ? f.module : f.module.slice(0, room - 1) + '\u2026';
  }
  function search(wanted) {
    var test = null;
    if (wanted) {
      try { var re = new RegExp(wanted, 'i'); test = function (s) { return re.test(s); }; }
      catch (error) { test = function (s) { return s.indexOf(wanted) >= 0; }; }
    }
    var hits = 0, spans = [];
    frames.forEach(function (f, i) {
      var hit = !!test && i > 0 && test(f.title.split('\n')[0]);
      f.g.classList.toggle('hit', hit);
      if (hit) { hits++; spans.push([f.x, f.x + f.w]); }
    });
    // A match below a match is part of it: the share is that of the union.
    spans.sort(function (a, b) { return a[0] - b[0]; });
    var covered = 0, end = 0;
    spans.forEach(function (s) {
      covered += Math.max(0, s[1] - Math.max(s[0], end));
      end = Math.max(end, s[1]);
    });
    var share = (100 * covered / whole).toFixed(1);
    message.textContent = test ? hits + ' frames match, ' + share + '% of the time' : '';
  }
  frames.forEach(function (f) {
    f.g.addEventListener('click', function () { zoom(f === zoomed ? frames[0] : f); });
  });
  var box = document.createElementNS(svg.namespaceURI, 'foreignObject');
  box.setAttribute('x', WIDTH - 270); box.setAttribute('y', 6);
  box.setAttribute('width', 262); box.setAttribute('height', 30);
  var input = document.createElementNS('http://www.w3.org/1999/xhtml', 'input');
  input.setAttribute('type', 'search');
  input.setAttribute('placeholder', 'search (text or regular expression)');
  input.setAttribute('aria-label', 'search');
  input.setAttribute('style', 'width:100%;box-sizing:border-box;font:12px system-ui,sans-serif');
  input.addEventListener('input', function () { search(input.value); });
  box.appendChild(input);
  svg.appendChild(box);
  document.addEventListener('keydown', function (event) {
    if (event.target === input) {
      if (event.key !== 'Escape') return;
      input.value = '';
      search('');
      input.blur();
      return;
    }
    if (event.key === 'Escape') zoom(frames[0]);
    if (event.key === '/' && document.documentElement === svg) {
      event.preventDefault();
      input.focus();
    }
  });
})();
