import type { RefObject } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

/** Distance from the end, in pixels, within which a reader is taken to be at the end. */
const NEAR_END = 48;

interface Follow {
  scroller: RefObject<HTMLDivElement | null>;
  content: RefObject<HTMLDivElement | null>;
  atEnd: boolean;
  jump: () => void;
}

/** Keeps the end of growing content in view, but only while the reader is there. */
export function useFollow(): Follow {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const [atEnd, setAtEnd] = useState(true);

  const jump = useCallback(() => {
    following.current = true;
    setAtEnd(true);
    const element = scroller.current;
    if (element) element.scrollTop = element.scrollHeight;
  }, []);

  useEffect(() => {
    const outer = scroller.current;
    const inner = content.current;
    if (!outer || !inner) return;
    let lastTop = outer.scrollTop;
    // The content may have grown since the page scrolled to its end: only a move upward leaves the end.
    const look = () => {
      const near = outer.scrollHeight - outer.scrollTop - outer.clientHeight < NEAR_END;
      if (near) following.current = true;
      else if (outer.scrollTop < lastTop) following.current = false;
      lastTop = outer.scrollTop;
      setAtEnd(near || following.current);
    };
    // A turn of the wheel leaves the end at once, even if the next token arrives before the page has scrolled.
    const leave = (event: WheelEvent) => {
      if (event.deltaY < 0 && outer.scrollHeight > outer.clientHeight) following.current = false;
    };
    const observer = new ResizeObserver(() => {
      if (following.current) outer.scrollTop = outer.scrollHeight;
      else look();
    });
    outer.addEventListener("scroll", look, { passive: true });
    outer.addEventListener("wheel", leave, { passive: true });
    observer.observe(inner);
    observer.observe(outer);
    return () => {
      outer.removeEventListener("scroll", look);
      outer.removeEventListener("wheel", leave);
      observer.disconnect();
    };
  }, []);

  return { scroller, content, atEnd, jump };
}
