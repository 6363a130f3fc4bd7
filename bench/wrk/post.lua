-- Sends one fixed POST over and over: wrk … URL -- CONTENT_TYPE BODY [KEY]
function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = args[1]
  wrk.body = args[2]
  wrk.headers["X-API-Key"] = args[3]
end
