// Each chart's data is the script right after its element. Charts are drawn from top to bottom; a chart that fails is
// replaced by the error message.
(async () => {
  for (const element of document.querySelectorAll('.chart')) {
    const spec = JSON.parse(element.nextElementSibling.textContent);
    try {
      if (spec.usermeta) {
        const images = JSON.parse(document.getElementById(spec.usermeta.images).textContent);
        for (const row of spec.data.values) row.image = images[row.image];
      }
      await vegaEmbed(element, spec, {
        mode: 'vega-lite', renderer: 'svg', actions: false, tooltip: {theme: 'custom'},
      });
    } catch (error) {
      element.textContent = 'This chart could not be drawn: ' + error.message;
      console.error(error);
    }
  }
  document.documentElement.dataset.drawn = 'all';
  addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(block => { block.open = true; }));
})();
