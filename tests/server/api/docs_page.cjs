// Runs the script of the documentation page on a small stand-in for a browser's document.
// Input (stdin): {"script": …, "openapi": …}. Output: what the page shows and asks for.
"use strict";
const given = JSON.parse(require("fs").readFileSync(0, "utf-8"));

class Element {
  constructor(tag) { this.tag = tag; this.children = []; this.textContent = ""; this.value = ""; }
  append(child) { this.children.push(child); }
  addEventListener(_, handler) { this.click = handler; }
  all(tag) { return this.children.flatMap((child) => (child.tag === tag ? [child] : []).concat(child.all(tag))); }
  text() { return [this.textContent, ...this.children.map((child) => child.text())].join("\n"); }
}

const named = {};
const asked = [];
globalThis.document = {
  createElement: (tag) => new Element(tag),
  getElementById: (id) => (named[id] ??= new Element(id)),
};
globalThis.fetch = async (url, options) => {
  asked.push({ url, ...options });
  if (url === "/api/openapi.json") return { json: async () => given.openapi };
  return { status: 200, statusText: "OK", text: async () => '{"said":"<b>hi</b>"}' };
};

(async () => {
  new Function(given.script)();
  await new Promise((done) => setTimeout(done, 20));
  const page = named.operations;
  const operations = page.all("details");
  document.getElementById("key").value = "sk-byom-typed";
  const one = operations.find((box) => box.text().startsWith("\n\nDELETE\n/api/models/{name}"));
  const [name, dryRun] = one.all("input");
  name.value = "org/m";
  dryRun.value = "true";
  await one.all("button")[0].click();
  await new Promise((done) => setTimeout(done, 20));
  console.log(JSON.stringify({ operations: operations.length, text: page.text(), asked, answer: one.all("pre").at(-1).text() }));
})();
