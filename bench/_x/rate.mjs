// node rate.mjs port path method body headers
import { connect } from 'node:net';
export function rate(port, reqOf, conns = 128, warm = 2000, ms = 2500) {
  return new Promise((res) => {
    const all = [];
    let n = 0;
    const codes = {};
    for (let i = 0; i < conns; i++) {
      const s = connect(port, '127.0.0.1', () => s.write(reqOf(i)));
      all.push(s);
      let buf = '';
      s.on('data', (d) => {
        const t = d.toString('latin1');
        buf += t;
        for (;;) {
          const e = buf.indexOf('\r\n\r\n');
          if (e < 0) return;
          const m = /content-length: (\d+)/i.exec(buf.slice(0, e));
          const need = e + 4 + Number(m?.[1] ?? 0);
          if (buf.length < need) return;
          codes[buf.slice(9, 12)] = (codes[buf.slice(9, 12)] ?? 0) + 1;
          buf = buf.slice(need);
          n++;
          s.write(reqOf(i));
        }
      });
      s.on('error', () => {});
    }
    setTimeout(() => {
      const a = n;
      setTimeout(() => {
        for (const s of all) s.destroy();
        res([Math.round(((n - a) / ms) * 1000), codes]);
      }, ms);
    }, warm);
  });
}
