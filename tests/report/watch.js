// What a person would see of the page in the frame: its colours, its width, what it loaded.
const frame = document.querySelector("iframe");

function rgb(text) {
  const parts = text.match(/[\d.]+/g).map(Number);
  return { colour: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
}

function over(top, alpha, below) {
  return top.map((value, i) => alpha * value + (1 - alpha) * below[i]);
}

function paper(element, view) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.push(rgb(view.getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer.colour, layer.alpha, below), [255, 255, 255]);
}

function luminance(colour) {
  const [r, g, b] = colour.map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(element, view) {
  const style = view.getComputedStyle(element);
  const below = paper(element, view);
  let ink = rgb(element.ownerSVGElement ? style.fill : style.color);
  let opacity = ink.alpha;
  for (let at = element; at; at = at.parentElement) opacity *= Number(view.getComputedStyle(at).opacity);
  const pair = [luminance(over(ink.colour, opacity, below)), luminance(below)].sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
}

function watch() {
  const page = frame.contentDocument;
  const view = frame.contentWindow;
  const bottom = (name) => page.querySelector(name)?.getBoundingClientRect().bottom ?? null;
  const folded = {
    height: page.documentElement.scrollHeight,
    opening: bottom(".opening"),
    texts: bottom(".texts"),
    chart: bottom(".dumbbell"),
    advice: bottom(".advice"),
  };
  page.querySelectorAll("details").forEach((closed) => (closed.open = true));
  const faint = [];
  const words = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    if (!words.currentNode.data.trim() || ["SCRIPT", "STYLE", "TITLE"].includes(element.tagName)) continue;
    texts += 1;
    const style = view.getComputedStyle(element);
    const large = parseFloat(style.fontSize) >= (Number(style.fontWeight) >= 700 ? 18.66 : 24);
    const found = contrast(element, view);
    if (found < (large ? 3 : 4.5)) faint.push([words.currentNode.data.trim().slice(0, 60), found]);
  }
  const edge = page.documentElement.clientWidth;
  const wide = [...page.body.querySelectorAll("*")]
    .filter((e) => !e.closest(".scroll, pre, svg") && e.getBoundingClientRect().right > edge + 1)
    .map((e) => `${e.tagName} ${e.className}`);
  const ids = [...page.querySelectorAll("[id]")].map((e) => e.id);
  const links = [...page.querySelectorAll("[href]")].map((e) => e.getAttribute("href"));
  const elements = [...page.querySelectorAll("*")];
  return {
    folded,
    texts,
    faint,
    wide,
    width: page.documentElement.scrollWidth,
    edge,
    paper: paper(page.body, view),
    links: links.length,
    lost: links.filter((link) => !/^checks\.html(#[A-Z0-9]+)?$/.test(link) && !(link.startsWith("#") && ids.includes(link.slice(1)))),
    repeated: ids.filter((id, i) => ids.indexOf(id) !== i),
    loaded: view.performance.getEntriesByType("resource").map((entry) => entry.name),
    scripts: page.scripts.length,
    handlers: elements.filter((e) => [...e.attributes].some((a) => a.name.startsWith("on"))).length,
    foreign: page.querySelectorAll("img, iframe, object, embed, form, input, link, base, a:not([href^='#'], [href^='checks.html'])").length,
    taken: Boolean(page.documentElement.dataset.taken || document.documentElement.dataset.taken),
    title: page.title,
    buttons: page.querySelectorAll("th button").length,
    silent: [...page.querySelectorAll("figure > svg")].filter(
      (svg) => svg.getAttribute("role") !== "img" || !(svg.getAttribute("aria-label") || "").trim()
    ).length,
    pictures: page.querySelectorAll("figure > svg").length,
  };
}

frame.addEventListener("load", () => {
  let seen;
  try {
    seen = watch();
  } catch (error) {
    seen = { failed: String(error) };
  }
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
