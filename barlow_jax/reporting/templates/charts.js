// Each chart's data is the script right after its element. Charts are drawn from top to bottom; a chart that fails is
// replaced by the error message.
(async () => {
  for (const element of document.querySelectorAll('.chart')) {
    const spec = JSON.parse(element.nextElementSibling.textContent), {role, ariaLabel} = element;
    try {
      if (spec.usermeta) {
        const images = JSON.parse(document.getElementById(spec.usermeta.images).textContent);
        for (const row of spec.data.values) row.image = images[row.image];
      }
      await vegaEmbed(element, spec, {
        mode: 'vega-lite', renderer: 'svg', actions: false, tooltip: {theme: 'custom'},
      });
      Object.assign(element, {role, ariaLabel});  // Vega has replaced them
      addDownloads(element);
    } catch (error) {
      element.textContent = 'This chart could not be drawn: ' + error.message;
      console.error(error);
    }
  }
  document.documentElement.dataset.drawn = 'all';
  addEventListener('beforeprint', () => {
    document.querySelectorAll('details').forEach(block => { block.open = true; });
    redraw('715px');  // about the width of a sheet of paper: charts keep the size of their text
  });
  addEventListener('afterprint', () => redraw(''));
})();

function redraw(width) {
  document.body.style.width = width;
  dispatchEvent(new Event('resize'));
}

// vega-embed's own downloads would lose the colors, which are CSS variables.
function addDownloads(element) {
  const name = element.ariaLabel.split(/[.:;]/)[0].trim().replace(/\W+/g, '_');
  const line = document.createElement('p');
  line.className = 'download';
  line.append('Download');
  for (const [format, picture] of [['png', pngOf], ['svg', svgOf]]) {
    const button = document.createElement('button');
    button.textContent = format.toUpperCase();
    button.title = `Download the chart "${name}" as ${button.textContent}`;
    button.onclick = async () => {
      const link = document.createElement('a');
      link.download = `${name}.${format}`;
      link.href = await picture(element);
      link.click();
    };
    line.append(' ', button);
  }
  element.parentElement.append(line);
}

// The chart as it is now, in plain colors on white; as a data URL.
async function svgOf(element) {
  const svg = element.querySelector('svg').cloneNode(true), probe = document.createElement('span');
  const pixel = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  document.body.append(probe);
  probe.className = 'light';
  const plain = color => {
    probe.replaceChildren(document.createElement('span'));
    probe.firstChild.style.color = color;
    pixel.fillStyle = getComputedStyle(probe.firstChild).color;
    pixel.fillRect(0, 0, 1, 1);
    return `rgb(${pixel.getImageData(0, 0, 1, 1).data.slice(0, 3).join()})`;
  };
  for (const path of svg.querySelectorAll('.role-legend-symbol path[stroke-dasharray]')) path.setAttribute('stroke', 'currentColor');
  for (const node of svg.querySelectorAll('[fill], [stroke]')) {
    for (const key of ['fill', 'stroke']) {
      if (/currentColor|\(/.test(node.getAttribute(key))) node.setAttribute(key, plain(node.getAttribute(key)));
    }
  }
  probe.remove();
  svg.insertAdjacentHTML('afterbegin', '<rect width="100%" height="100%" fill="white"/>');
  return 'data:image/svg+xml;charset=utf-8,' + encodeURIComponent(new XMLSerializer().serializeToString(svg));
}

async function pngOf(element) {
  const image = new Image();
  image.src = await svgOf(element);
  await image.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [2 * image.naturalWidth, 2 * image.naturalHeight];
  canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL('image/png');
}
