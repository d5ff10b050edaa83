/** What the widget itself says; all else is said in the frame. */
export interface Labels {
  readonly chat: string;
  readonly open: string;
  readonly close: string;
}

/** The widget's words in a language; English where there are none. */
export function labelsIn(lang: string): Labels {
  switch (lang.slice(0, 2).toLowerCase()) {
    case 'de':
      return { chat: 'Chat', open: 'Chat öffnen', close: 'Chat schließen' };
    case 'ar':
      return { chat: 'الدردشة', open: 'فتح الدردشة', close: 'إغلاق الدردشة' };
    default:
      return { chat: 'Chat', open: 'Open chat', close: 'Close chat' };
  }
}
