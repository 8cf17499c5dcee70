import { Component, type ComponentChildren, h } from "preact";

/** A component that is rendered again only when its properties differ. */
export function memo<P extends object>(
  render: (props: P) => ComponentChildren,
  equal: (old: P, next: P) => boolean = shallowEqual,
) {
  const Inner = (props: P) => render(props) as never;
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      return !equal(this.props as P, next);
    }
    override render(props: P) {
      return h(Inner as never, props as never);
    }
  };
}

function shallowEqual<P extends object>(old: P, next: P): boolean {
  const keys = Object.keys({ ...old, ...next }) as (keyof P)[];
  return keys.every((key) => old[key] === next[key]);
}
