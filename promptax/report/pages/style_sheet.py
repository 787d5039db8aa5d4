"""The style sheet of a report page: system fonts, room to breathe, phone, dark room and paper."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1f2328; --muted: #57606a; --line: #d8dee4; --wash: #f6f8fa;
  --accent: #0a5a9c;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --ink: #e2e6ea; --muted: #9aa4ae; --line: #30363d; --wash: #1c2026;
          --accent: #79b8f3; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 3.5rem; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
    sans-serif;
  overflow-wrap: break-word;
}
header, main, footer { max-width: 46rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 4rem; }
h1 { font-size: clamp(1.7rem, 5vw, 2.3rem); line-height: 1.2; letter-spacing: -0.015em;
     margin: 0 0 1rem; font-weight: 650; text-wrap: balance; }
h2 { font-size: 1.5rem; line-height: 1.3; margin: 4.5rem 0 0.75rem; font-weight: 650; }
h3 { font-size: 1.0625rem; margin: 3rem 0 0.5rem; font-weight: 650; }
p { margin: 0 0 1rem; }
a { color: var(--accent); text-underline-offset: 0.2em; }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 3px;
}
.summary, .headline { font-size: 1.1875rem; line-height: 1.55; }
.headline { border-left: 3px solid var(--accent); padding-left: 1.1rem; margin: 1.25rem 0 2rem; }
.note, figcaption, footer { color: var(--muted); font-size: 0.9375rem; line-height: 1.55; }
nav { position: sticky; top: 0; z-index: 2; background: var(--paper);
      border-bottom: 1px solid var(--line); }
nav ul { max-width: 46rem; margin: 0 auto; padding: 0.7rem 1.25rem; display: flex;
         gap: 0.25rem 1.5rem; list-style: none; font-size: 0.9375rem;
         overflow-x: auto; white-space: nowrap; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
figure { margin: 0 0 3rem; }
figure img { display: block; width: 100%; height: auto; background: #ffffff; border-radius: 6px; }
figcaption { margin-top: 0.9rem; color: var(--ink); }
.scroll { overflow-x: auto; margin: 0 0 0.75rem; -webkit-overflow-scrolling: touch;
          scrollbar-width: thin; --shade: rgb(127 127 127 / 0.45);
          background: linear-gradient(to left, var(--paper) 40%, transparent) right / 3rem 100%
            no-repeat local, linear-gradient(to left, var(--shade), transparent) right / 0.9rem 100%
            no-repeat scroll, var(--paper); }
table { border-collapse: collapse; width: 100%; font-size: 0.9375rem; line-height: 1.35;
        font-variant-numeric: tabular-nums; }
th, td { padding: 0.42rem 0.5rem; text-align: right; white-space: nowrap; font-weight: 400; }
th:first-child { text-align: left; padding-left: 0; white-space: normal; min-width: 8.5rem;
                 position: sticky; left: 0; background: var(--paper); }
thead th { color: var(--muted); vertical-align: bottom; border-bottom: 1px solid var(--line); }
tbody th[scope="rowgroup"] { font-weight: 650; padding-top: 1.4rem; color: var(--muted); }
tbody tr + tr th, tbody tr + tr td { border-bottom: 1px solid var(--line); }
td.main { font-weight: 600; padding-left: 1.4rem; }
.more { color: var(--muted); font-weight: 400; }
td.found { text-align: left; padding-left: 0.9rem; padding-right: 0; }
td.found code { white-space: pre; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.9em; }
details { border: 1px solid var(--line); border-radius: 6px; margin: 4.5rem 0 0; }
summary { cursor: pointer; padding: 0.8rem 1.1rem; font-weight: 650; }
dl { margin: 0; padding: 0 1.1rem 1rem; }
dt { color: var(--muted); font-size: 0.9375rem; margin-top: 0.7rem; }
dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
details.claim { margin: 0; border: 0; border-bottom: 1px solid var(--line); border-radius: 0; }
details.claim summary { display: grid; grid-template-columns: 7rem 6.25rem 1fr; gap: 0 0.75rem;
                        padding: 0.6rem 0; font-weight: 400; align-items: baseline;
                        list-style: none; }
details.claim summary::-webkit-details-marker { display: none; }
details.claim summary:hover .text { text-decoration: underline; text-underline-offset: 0.2em; }
.claim .name { font-weight: 650; }
.verdict { font-size: 0.875rem; font-weight: 650; }
.verdict.holds { color: #1a7f4b; } .verdict.fails { color: #b3261e; }
.verdict.undecided { color: #8a6100; } .verdict.not-run { color: var(--muted); font-weight: 400; }
@media (prefers-color-scheme: dark) {
  .verdict.holds { color: #5fd39b; } .verdict.fails { color: #ff8f85; }
  .verdict.undecided { color: #e3b341; }
}
table.numbers { font-size: 0.875rem; margin-bottom: 1rem; }
table.numbers th:first-child { min-width: 14rem; }
footer { padding-top: 3rem; padding-bottom: 4rem; }
@media (max-width: 34rem) {
  details.claim summary { grid-template-columns: 7rem 1fr; }
  .claim .text { grid-column: 1 / -1; }
  header { padding-top: 2.25rem; }
  h2 { margin-top: 3.5rem; }
  figure img { width: calc(100% + 2rem); max-width: none; margin: 0 -1rem; border-radius: 0; }
}
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --muted: #444; --line: #bbb;
          --accent: #000; }
  body { font-size: 10.5pt; }
  header, main, footer { max-width: none; padding-left: 0; padding-right: 0; }
  header { padding-top: 0; }
  nav { display: none; }
  figure { break-inside: avoid; }
  figure img { width: auto; max-width: 100%; max-height: 19cm; margin: 0 auto; }
  h2, h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  th:first-child { position: static; }
  details { margin-top: 2rem; }
  details::details-content { content-visibility: visible; display: block; block-size: auto; }
}
"""
