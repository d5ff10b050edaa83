/** What old pages do to those beside them, each as a piece of HTML for the page's head. */
export const NASTY = {
  quirks: '',
  bootstrap: `<style>
    html { font-size: 10px } body { line-height: 20px }
    * { box-sizing: border-box !important } *, *::before, *::after { -webkit-box-sizing: border-box }
    div { margin: 7px !important; float: left; opacity: 0.9; transform: scale(1.1) }
    body > div { display: none !important; z-index: 1 !important; position: static !important; visibility: hidden }
    button, .btn { display: inline-block; padding: 60px !important; font-size: 40px !important }
    iframe { max-width: 100%; height: 10px !important; display: none !important; border: 9px solid red !important }
    .hide { display: none !important } .open { background: red } .close { float: right; opacity: 0.2 } .badge { font-size: 50px }
    .modal-backdrop { position: fixed; z-index: 1040; inset: auto }
  </style>`,
  // After Prototype.js 1.5 to 1.7: replaced built-ins, serialisation by toJSON, methods in every \`for … in\`.
  prototype: `<script>
    (function () {
      var native = window.Element;
      window.$ = function (id) { return document.getElementById(id) };
      window.$A = function (list) { var all = []; for (var i = 0; i < list.length; i++) all.push(list[i]); return all };
      Array.from = window.$A;
      Array.prototype.toJSON = function () { return '[' + this.join(', ') + ']' };
      String.prototype.toJSON = function () { return '"' + this + '"' };
      Date.prototype.toJSON = function () { return '"date"' };
      Array.prototype.each = function (act) { for (var i = 0; i < this.length; i++) act(this[i], i) };
      Array.prototype.reduce = function () { return this.length > 1 ? this : this[0] };
      Array.prototype.map = Array.prototype.collect = function (act) { var all = []; this.each(function (one) { all.push(act ? act(one) : one) }); return all };
      Array.prototype.filter = function (act) { var all = []; this.each(function (one) { if (act(one)) all.push(one) }); return all };
      Array.prototype.without = Array.prototype.compact = Array.prototype.inspect = function () { return this };
      Object.keys = function (object) { var all = []; for (var key in object) all.push(key); return all };
      Function.prototype.bind = function (context) { var method = this; return function () { return method.apply(context, arguments) } };
      String.prototype.strip = function () { return this.replace(/^\\s+|\\s+$/g, '') };
      native.prototype.remove = function () { this.parentNode.removeChild(this); return this };
      native.prototype.hide = function () { this.style.display = 'none'; return this };
      native.prototype.show = function () { this.style.display = ''; return this };
      native.prototype.update = native.prototype.insert = native.prototype.observe = native.prototype.select = native.prototype.fire = function () { return this };
      document.getElementsByClassName = function () { return [] };
      window.Element = function (tag) { return document.createElement(tag) };
      window.Element.prototype = native.prototype;
      window.Event.observe = function () {};
      window.Event.prototype.stop = function () { this.preventDefault(); this.stopPropagation() };
      window.Class = { create: function () {} }; window.Hash = function () {}; window.Template = function () {};
    })();
  </script>`,
  // After MooTools 1.2: its own JSON, without the browser's methods.
  mooTools: `<script>
    window.JSON = { encode: function () { return '' }, decode: function () { return null } };
    window.$ = function (id) { return document.getElementById(id) };
    window.$each = window.$extend = function (object) { return object };
    Object.prototype.toJSON = Array.prototype.each = Array.prototype.extend = Array.prototype.include = function () { return this };
    Function.prototype.bind = function (context) { var method = this; return function () { return method.apply(context, arguments) } };
    window.Element.prototype.set = window.Element.prototype.store = function () { return this };
  </script>`,
  // After jQuery 1.x: a global \`$\`, expandos on elements, handlers that are run for every event of the page.
  jquery: `<script>
    window.jQuery = window.$ = function () { return window.$ };
    window.$.fn = {}; window.$.expando = 'jQuery18'; window.$.ready = true;
    document.documentElement[window.$.expando] = 1;
    document.addEventListener('click', function (event) { if (event.target && event.target.className && event.target.className.indexOf('nothing') >= 0) event.preventDefault() });
    window.JSON2 = window.JSON; window.open = function () { return null };
    window.event = undefined;
  </script>`,
} as const;
