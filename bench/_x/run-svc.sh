cd /work/main
node bench/_x/svc.mjs "$@"
