const PAGE_DIRECTIVES = {
  defaultSrc: ["'none'"],
  scriptSrc: ["'self'"],
  styleSrc: ["'self'"],
  // The pictures of users are where their host site says.
  imgSrc: ["'self'", 'data:', 'https:'],
  connectSrc: ["'self'"],
  formAction: ["'self'"],
  baseUri: ["'none'"],
  frameAncestors: ["'none'"],
};

/** helmet's options for the pages with script. */
export const PAGE_POLICY = {
  contentSecurityPolicy: { useDefaults: false, directives: PAGE_DIRECTIVES },
  // Whether a host speaks only https is for whoever runs all of it to say.
  strictTransportSecurity: false,
};

/** helmet's options for the page that the pages of these origins may have in a frame. */
export function embedPolicy(origins: readonly string[]) {
  return {
    ...PAGE_POLICY,
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        ...PAGE_DIRECTIVES,
        formAction: ["'none'"],
        // [spec] CSP 3, 2.2.1: these would end the directive or the policy, and no host of today has them.
        frameAncestors: ["'self'", ...origins.filter((origin) => !/[;,]/.test(origin))],
      },
    },
    // It can't name origins; what it would say is said by frame-ancestors.
    xFrameOptions: false,
    crossOriginResourcePolicy: { policy: 'cross-origin' as const },
    // The page opens itself in a window of its own and hands its name on, which another group of windows wouldn't see.
    crossOriginOpenerPolicy: false,
  };
}

/** As little as a page without script needs. */
export const PLAIN_POLICY = plainPolicy("'none'");
/** For the frame within it. */
export const LIVE_POLICY = plainPolicy("'self'");

function plainPolicy(frameAncestors: string) {
  return {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'none'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'"],
        frameSrc: ["'self'"],
        formAction: ["'self'"],
        baseUri: ["'none'"],
        frameAncestors: [frameAncestors],
      },
    },
    strictTransportSecurity: false,
    // [spec] Fetch, 3.2: under `no-referrer` even our own forms would be sent with `Origin: null`.
    referrerPolicy: { policy: 'same-origin' as const },
  };
}
