// How figures are written.
export const whole = (value) => Math.round(value).toLocaleString('en');
export const ms = (value) => (value < 1000 ? `${value.toFixed(1)} ms` : `${(value / 1000).toFixed(2)} s`);
export const kb = (value) => `${value.toFixed(1)} KB`;
export const plain = (value) => `${value}`;
