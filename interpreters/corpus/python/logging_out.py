import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(levelname)s:%(name)s:%(message)s", level=logging.INFO)
l = logging.getLogger("app.db"); l.debug("no"); l.info("hi %d", 3); l.warning("w")
try: 1 / 0
except ZeroDivisionError: l.error("bad", exc_info=False)
