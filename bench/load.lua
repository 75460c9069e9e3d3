-- load.lua - what wrk sends in each workload, and its result as one line that a program can read.
-- Errors and answers other than 2xx and 3xx give wrk the exit status 1.

local REQUEST_BYTES = 44	-- of a GET, head included

-- Requests of all keys in turn, made beforehand: the client is not what is measured.
local function send_in_turn(keys, method, body)
	local requests, n = {}, 0
	for key = 1, keys do
		requests[key] = wrk.format(method, "/key" .. key - 1, {}, body)
	end
	function request()
		n = n % keys + 1
		return requests[n]
	end
end

function init(args)
	local workload, keys = args[1], tonumber(args[2])
	if workload == "put" then
		send_in_turn(10000, "PUT", string.rep("x", 1024))
	elseif keys > 0 then
		send_in_turn(keys, "GET")
	elseif workload == "post1k" or workload:sub(1, 3) == "wal" then
		wrk.method = "POST"
		wrk.body = string.rep("x", 1024)
	elseif workload == "conn" then
		wrk.headers["Connection"] = "close"
	else
		local pad = REQUEST_BYTES - #wrk.format() - #"X: \r\n"
		wrk.headers["X"] = string.rep("x", math.max(pad, 1))
	end
end

function done(summary, latency, requests)
	local e = summary.errors
	print(string.format("load: requests %d microseconds %d bytes %d p50 %d p99 %d " ..
			    "connect %d read %d write %d status %d timeout %d",
			    summary.requests, summary.duration, summary.bytes,
			    latency:percentile(50), latency:percentile(99),
			    e.connect, e.read, e.write, e.status, e.timeout))
	io.stdout:flush()
	if e.connect + e.read + e.write + e.status + e.timeout > 0 then
		os.exit(1)
	end
end
