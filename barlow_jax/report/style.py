"""How the page looks, and the few lines that draw its charts. No font, image or script from elsewhere."""

# Colours: light, and dark where the screen asks for it; print is light. Series are told apart by people who see few
# colours (after Okabe and Ito 2008), a bit darker or lighter than there for contrast.
_LIGHT = {
    "page": "#ffffff",
    "card": "#f6f7f9",
    "text": "#1c2026",
    "muted": "#5d6673",
    "line": "#d5dae1",
    "link": "#0b57d0",
    "good": "#19703b",
    "look": "#8a5300",
    "bad": "#b3261e",
    "early": "#98a5b7",
    "late": "#0b5cad",
    "color-0": "#0868ac",
    "color-1": "#c2570c",
    "color-2": "#1b7f5c",
    "color-3": "#a8447f",
    "color-4": "#7a6a00",
    "color-5": "#3f8fc4",
    "color-6": "#5b4fb0",
    "color-7": "#555d68",
    "class-0": "#0868ac",
    "class-1": "#c2570c",
    "class-2": "#1b7f5c",
    "class-3": "#b3261e",
    "class-4": "#6b4fb3",
    "class-5": "#7a4a2b",
    "class-6": "#b83280",
    "class-7": "#555d68",
    "class-8": "#7a6a00",
    "class-9": "#0a7c8c",
}
_DARK = {
    "page": "#14171c",
    "card": "#1d2127",
    "text": "#e4e8ee",
    "muted": "#9aa5b4",
    "line": "#363d47",
    "link": "#8ab4f8",
    "good": "#6fd08c",
    "look": "#f0b35c",
    "bad": "#ff8a80",
    "early": "#66748a",
    "late": "#7cc0ff",
    "color-0": "#6cb6ff",
    "color-1": "#ff9d57",
    "color-2": "#56d1a5",
    "color-3": "#f08cc7",
    "color-4": "#e0cc4a",
    "color-5": "#a5d8ff",
    "color-6": "#b7a9ff",
    "color-7": "#b4bdc9",
    "class-0": "#6cb6ff",
    "class-1": "#ff9d57",
    "class-2": "#56d1a5",
    "class-3": "#ff8a80",
    "class-4": "#b7a9ff",
    "class-5": "#d3a583",
    "class-6": "#f08cc7",
    "class-7": "#b4bdc9",
    "class-8": "#e0cc4a",
    "class-9": "#5cd3e6",
}
_RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
header, main, footer { max-width: 1120px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 28px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 0 0 8px; }
h3 { font-size: 1.05rem; margin: 24px 0 8px; overflow-wrap: anywhere; }
h4 { font-size: .95rem; margin: 12px 0 4px; }
p { margin: 0 0 12px; max-width: 75ch; overflow-wrap: anywhere; }
a { color: var(--link); }
code { font: .88em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.subtitle, .hint, footer, figcaption, caption, dt { color: var(--muted); }
.hint, figcaption { font-size: .86rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; padding: 0; margin: 12px 0 0; font-size: .92rem; }
section { border-top: 1px solid var(--line); margin-top: 28px; padding-top: 20px; }
header + main section:first-child { margin-top: 18px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; min-width: 0; }
.card > :first-child { margin-top: 0; }
.verdicts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(290px, 100%), 1fr)); gap: 14px; margin: 12px 0; }
.verdict h3 { color: var(--muted); font-size: .9rem; margin: 0; font-weight: 600; }
.answer { font-size: 1.25rem; font-weight: 650; line-height: 1.3; margin: 2px 0 10px; }
.verdict ul { list-style: none; margin: 0; padding: 0; font-size: .92rem; }
.verdict li { display: flex; gap: 8px; margin: 6px 0; overflow-wrap: anywhere; }
.verdict li > :last-child { min-width: 0; }
.sign { flex: none; width: 1.1em; text-align: center; font-weight: 700; }
.good > .sign, .answer.good { color: var(--good); }
.look > .sign, .answer.look { color: var(--look); }
.bad > .sign, .answer.bad { color: var(--bad); }
dl { margin: 0; font-size: .92rem; }
dl div { display: grid; grid-template-columns: minmax(6.5em, 30%) 1fr; gap: 8px; padding: 3px 0; }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 14px 28px; }
.grid.wide { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); }
.grid > * { min-width: 0; }
figure { margin: 0; min-width: 0; }
figcaption { margin-top: 2px; }
.chart { width: 100%; overflow: hidden; }
.chart svg { display: block; max-width: 100%; height: auto; }
.chart.vega-embed { padding: 0; display: block; }
.scroll { overflow-x: auto; margin: 8px 0 14px; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 4px; font-size: .86rem; }
th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { overflow-wrap: break-word; max-width: 28em; }
thead th { white-space: nowrap; }
tbody th { font-weight: normal; min-width: 9em; }
th.number, td.number { text-align: right; white-space: nowrap; }
details { margin: 8px 0; }
summary { cursor: pointer; padding: 4px 0; font-weight: 600; overflow-wrap: anywhere; }
.matrices { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 45%), 1fr)); gap: 16px; }
.matrix { width: 100%; image-rendering: pixelated; display: block; border: 1px solid var(--line); }
.color-bar { max-width: 300px; margin: 12px 0 0; font-size: .86rem; color: var(--muted); }
.color-bar img { width: 100%; height: 14px; border: 1px solid var(--line); display: block; }
.ends { display: flex; justify-content: space-between; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; }
.tiles { display: flex; flex-wrap: wrap; gap: 8px; }
.tiles img { display: block; width: 76px; height: 76px; object-fit: contain; background: var(--line); }
.tiles figcaption { text-align: center; font-size: .76rem; max-width: 76px; overflow-wrap: anywhere; }
.cards .tiles { padding: 10px; }
img.tiny { image-rendering: pixelated; }
.rows { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(500px, 100%), 1fr)); gap: 14px 24px; }
.neighbours img { width: 60px; height: 60px; border: 3px solid var(--muted); }
.neighbours .query { margin-right: 10px; }
.neighbours .query img { border-color: transparent; outline: 2px solid var(--text); outline-offset: -3px; }
.neighbours .same img { border-color: var(--good); }
.neighbours .other img { border-color: var(--bad); border-style: dashed; }
.neighbours .same figcaption { color: var(--good); }
.neighbours .other figcaption { color: var(--bad); }
#vg-tooltip-element.custom-theme { background: var(--card); color: var(--text); border: 1px solid var(--line); padding: 6px 8px;
  border-radius: 6px; font: 13px/1.4 system-ui, sans-serif; box-shadow: 0 2px 8px #0003; }
#vg-tooltip-element.custom-theme td { border: 0; padding: 1px 6px; white-space: nowrap; }
#vg-tooltip-element.custom-theme td.key { color: var(--muted); max-width: 200px; }
#vg-tooltip-element.custom-theme img { width: 96px; height: 96px; object-fit: contain; image-rendering: pixelated;
  display: block; }
footer { border-top: 1px solid var(--line); margin-top: 32px; padding-top: 12px; padding-bottom: 32px; font-size: .86rem; }
@media (max-width: 480px) {
  .neighbours { gap: 6px 5px; }
  .neighbours img { width: 49px; height: 49px; }
  .neighbours figcaption { font-size: .68rem; max-width: 49px; }
  .neighbours .query { margin-right: 3px; }
}
@media print {
  nav, .hint { display: none; }
  body { font-size: 11pt; }
  section { break-inside: auto; }
  figure, .card, tr { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  .scroll { overflow: visible; }
}
"""

# Each chart's data stand right behind its place. Drawn from top to bottom; what fails says so where it would be.
CODE = """
(async () => {
  for (const place of document.querySelectorAll('.chart')) {
    const spec = JSON.parse(place.nextElementSibling.textContent);
    try {
      if (spec.usermeta) {
        const images = JSON.parse(document.getElementById(spec.usermeta.images).textContent);
        for (const row of spec.data.values) row.image = images[row.image];
      }
      await vegaEmbed(place, spec, {
        mode: 'vega-lite', renderer: 'svg', actions: false, tooltip: {theme: 'custom'},
      });
    } catch (error) {
      place.textContent = 'This chart could not be drawn: ' + error.message;
      console.error(error);
    }
  }
  document.documentElement.dataset.drawn = 'all';
  addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(it => { it.open = true; }));
})();
"""


def sheet() -> str:
    """The style sheet."""
    light, dark = ("".join(f"--{k}: {v};" for k, v in colors.items()) for colors in (_LIGHT, _DARK))
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}{_RULES}"
    )
